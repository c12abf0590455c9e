"""The folders that the product reads and writes, moved below a folder of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDERS = {
    "HOME": "",
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_CACHE_HOME": ".cache",
    "XDG_STATE_HOME": ".local/state",
    "ILAB_JUPYTER_STATE": "state",
    "IPYTHONDIR": ".ipython",
}
UNSET = (
    "ILAB_SERVICE_URL",
    "ILAB_SERVICE_TOKEN",
    "ILAB_JUPYTER_WORKER_PYTHON",
    "ILAB_JUPYTER_DATABASE_URL",
)


def use_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Create `home` and make it HOME, with the XDG folders and the job engine's state below it."""
    home.mkdir()
    for variable, folder in FOLDERS.items():
        monkeypatch.setenv(variable, str(home / folder))
    for variable in UNSET:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
