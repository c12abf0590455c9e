"""What is made so before the first heavy library is imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ilab_jupyter import engine
from ilab_jupyter.errors import Unavailable


@pytest.mark.parametrize(
    ("torch", "torchvision", "hidden"),
    [("2.13.0+cpu", "0.28.0", True), ("2.13.0+cpu", "0.28.0+cpu", False), ("2.13.0", "0.28.0", False)],
)
def test_incompatible_torchvision_is_hidden_without_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch: str, torchvision: str, hidden: bool
) -> None:
    for name, version in {"torch": torch, "torchvision": torchvision}.items():
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "modules", {k: v for k, v in sys.modules.items() if k != "torchvision"})
    engine.hide_unfit_torchvision()
    assert ("torchvision" in sys.modules) is hidden
    if hidden:
        assert sys.modules["torchvision"] is None


def test_missing_library_is_named_with_install_command() -> None:
    with pytest.raises(Unavailable, match="Training needs no_such_library") as raised:
        engine.require("Training", "json", "no_such_library")
    assert raised.value.cause == "engine_missing"
    assert "pip install" in raised.value.hint
