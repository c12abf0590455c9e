"""Tiny models, built once per run by a process of their own and shared by all test processes."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SharedFolder = Callable[[str, Callable[[Path], object]], Path]

# The vocabulary of the sentence model: enough to tell the two texts apart.
STORIES = (
    "Maren mends the nets at the harbour every morning before the boats leave.",
    "The baker has a green door and sells rye bread from five o'clock on.",
)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> SharedFolder:
    """`shared_folder(name, build)`: a folder that `build(folder)` fills once for all processes of a run.

    Tests must not write to it: copy it first.
    """
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    root.mkdir(exist_ok=True)

    def get(name: str, build: Callable[[Path], object]) -> Path:
        folder, complete = root / name, root / f"{name}.complete"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not complete.exists():
                # Built under its final name, because adapters hold the absolute path of their base.
                shutil.rmtree(folder, ignore_errors=True)
                build(folder)
                complete.touch()
        return folder

    return get


def build(group: str, folder: Path) -> None:
    """Run the model builder, which needs no network."""
    command = [sys.executable, "-m", "tests.support.model_builder", group, str(folder)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def language_models(shared_folder: SharedFolder) -> Path:
    """The folder of `chat/tiny`, `chat/other`, `trainable/tiny`, and `adapter/lora` and `adapter/dora` of
    `chat/tiny`.
    """
    return shared_folder("language", lambda folder: build("language", folder))


@pytest.fixture(scope="session")
def sentence_models(shared_folder: SharedFolder) -> Path:
    """The folder of `words` and `other-words`."""
    return shared_folder("sentence", lambda folder: build("sentence", folder))
