"""A configuration with wrong values can be corrected by the commands that read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ilab_jupyter.core import Config
from ilab_jupyter.errors import InvalidInput, NotFound, Unprocessable


def written(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("serve:\n  backend: vlm\nversion: 1.0.0\n", "serve.backend", "vllm"),
        ("# mine\ntrain:\n  num_epochs: many # why\n", "train.num_epochs", "3"),
        ("train:\n  num_epochs: -1\n", "train.num_epochs", 3),
        ("chat:\n  temperature: hot\n", "chat.temperature", 0.5),
    ],
)
def test_change_replaces_a_wrong_value(text: str, key: str, value: object, tmp_path: Path) -> None:
    file = written(tmp_path, text)
    config = Config.change(key, value, path=file)
    assert str(config.get(key)) == str(value)
    assert Config.load(file).get(key) == config.get(key)
    assert ("# mine" in text) == ("# mine" in file.read_text())


def test_change_replaces_one_wrong_value_and_names_the_next(tmp_path: Path) -> None:
    file = written(tmp_path, "serve:\n  backend: vlm\ntrain:\n  num_epochs: many\n")
    with pytest.raises(Unprocessable, match=r"serve\.backend is set, but line 4"):
        Config.change("serve.backend", "vllm", path=file)
    assert "backend: vllm" in file.read_text()
    assert Config.change("train.num_epochs", 2, path=file).get("serve.backend") == "vllm"


def test_valid_change_is_refused_while_another_value_is_invalid(tmp_path: Path) -> None:
    file = written(tmp_path, "serve:\n  backend: vlm\n")
    with pytest.raises(Unprocessable, match="line 2"):
        Config.change("train.num_epochs", 2, path=file)
    assert file.read_text() == "serve:\n  backend: vlm\n"


@pytest.mark.parametrize(
    ("key", "value"), [("serve.backend", "vlm"), ("serve.bakend", "vllm"), ("serve", "x")]
)
def test_change_refuses_what_does_not_fit(key: str, value: str, tmp_path: Path) -> None:
    text = "serve:\n  backend: vlm\n"
    file = written(tmp_path, text)
    with pytest.raises(InvalidInput):
        Config.change(key, value, path=file)
    assert file.read_text() == text


def test_change_of_a_missing_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Config.change("serve.backend", "vllm", path=tmp_path / "new" / "config.yaml")
    assert not (tmp_path / "new").exists()
