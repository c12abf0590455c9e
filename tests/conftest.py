"""Every test has its own home, state, data and cache folders; nothing reads or writes the user's."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """HOME, XDG and the job engine's state below a folder of this test alone."""
    home = tmp_path / "home"
    home.mkdir()
    for variable, folder in {
        "HOME": home,
        "XDG_CONFIG_HOME": home / ".config",
        "XDG_DATA_HOME": home / ".local/share",
        "XDG_CACHE_HOME": home / ".cache",
        "XDG_STATE_HOME": home / ".local/state",
        "ILAB_JUPYTER_STATE": home / "state",
        "IPYTHONDIR": home / ".ipython",
    }.items():
        monkeypatch.setenv(variable, str(folder))
    for variable in ("ILAB_SERVICE_URL", "ILAB_SERVICE_TOKEN", "ILAB_JUPYTER_WORKER_PYTHON"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return home
