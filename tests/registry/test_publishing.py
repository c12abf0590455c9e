"""A model appears whole or not at all, and never in another one's place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ilab_jupyter.errors import Conflict, InvalidInput, Unprocessable
from ilab_jupyter.registry import Models

Make = Callable[..., Path]


def published(root: Path) -> list[str]:
    return [entry.name for entry in Models(root).list() if not entry.builtin]


def test_published_model_is_listed_with_lineage_and_world_readable(make_model: Make, tmp_path: Path) -> None:
    source = make_model(tmp_path / "source")
    (source / "model.safetensors").chmod(0o600)
    models = Models(tmp_path / "models")
    entry = models.publish(source, "mine", {"base": "starter", "seed": 1})
    assert entry.lineage == {"base": "starter", "seed": 1}
    assert published(models.root) == ["mine"]
    assert (Path(entry.path) / "model.safetensors").stat().st_mode & 0o777 == 0o644
    assert source.is_dir()
    assert sorted(path.name for path in models.root.iterdir()) == ["mine"]


def test_a_staged_folder_is_moved(make_model: Make, tmp_path: Path) -> None:
    models = Models(tmp_path / "models")
    with models.staging() as staged:
        for file in make_model(tmp_path / "source").iterdir():
            file.rename(staged.folder / file.name)
        assert published(models.root) == []
        models.publish(staged, "mine", {})
    assert sorted(path.name for path in models.root.iterdir()) == ["mine"]


def test_used_name_conflicts_and_free_one_is_suggested(make_model: Make, tmp_path: Path) -> None:
    models = Models(tmp_path / "models")
    source = make_model(tmp_path / "source")
    models.publish(source, "mine", {"seed": 1})
    with pytest.raises(Conflict, match="mine-2 is free"):
        models.publish(source, "mine", {"seed": 2})
    with pytest.raises(Conflict):
        models.publish(source, "starter", {})
    assert models.get("mine").lineage == {"seed": 1}


@pytest.mark.parametrize("name", ["../x", "a/b", "A", "", ".hidden", "-h", "x" * 129, "a b", "<img>", "é"])
def test_a_name_that_is_none_is_refused(name: str, make_model: Make, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        Models(tmp_path / "models").publish(make_model(tmp_path / "source"), name, {})
    assert not (tmp_path / "models").exists()


def test_a_broken_folder_is_not_published(make_model: Make, tmp_path: Path) -> None:
    source = make_model(tmp_path / "source")
    (source / "tokenizer.json").unlink()
    with pytest.raises(Unprocessable):
        Models(tmp_path / "models").publish(source, "mine", {})
    assert published(tmp_path / "models") == []


def test_one_of_two_concurrent_publishers_gets_conflict(make_model: Make, tmp_path: Path) -> None:
    source = make_model(tmp_path / "source")
    for round_number in range(20):
        start = threading.Barrier(2)
        outcomes: list[str] = []

        def publish(mark: int, name: str, start: threading.Barrier, outcomes: list[str]) -> None:
            start.wait()
            try:
                Models(tmp_path / "models").publish(source, name, {"mark": mark})
                outcomes.append("won")
            except Conflict:
                outcomes.append("told")

        given = (f"m{round_number}", start, outcomes)
        threads = [threading.Thread(target=publish, args=(mark, *given)) for mark in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["told", "won"]


WRITER = """
import sys
from pathlib import Path
from ilab_jupyter.registry import Models
source, root = map(Path, sys.argv[1:])
for number in range(10_000):
    Models(root).publish(source, f"m{number}", {"number": number})
    print(number, flush=True)
"""

HALF = """
import shutil, sys, time
from pathlib import Path
from ilab_jupyter.registry import Models
source, root = map(Path, sys.argv[1:])
with Models(root).staging() as staged:
    shutil.copyfile(source / "config.json", staged.folder / "config.json")
    print("half", flush=True)
    time.sleep(600)
"""


def start(script: str, source: Path, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, str(source), str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_killed_writer_leaves_nothing_listed_and_is_cleaned_up(make_model: Make, tmp_path: Path) -> None:
    root = tmp_path / "models"
    writer = start(HALF, make_model(tmp_path / "source"), root)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "half\n"
    assert len(list(root.iterdir())) == 1
    # While it lives, another writer leaves its folder alone.
    with Models(root).staging():
        assert len(list(root.iterdir())) == 2
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert published(root) == []
    with Models(root).staging():
        assert len(list(root.iterdir())) == 1
    assert list(root.iterdir()) == []


def test_whenever_a_writer_is_killed_each_listed_model_is_whole(make_model: Make, tmp_path: Path) -> None:
    source = make_model(tmp_path / "source")
    for attempt in range(5):
        root = tmp_path / f"models-{attempt}"
        writer = start(WRITER, source, root)
        assert writer.stdout is not None
        reported = int(writer.stdout.readline())
        time.sleep(0.007 * attempt)
        os.kill(writer.pid, signal.SIGKILL)
        reported = max([reported, *(int(line) for line in writer.stdout.read().split("\n") if line)])
        writer.wait()
        entries = [entry for entry in Models(root).list() if not entry.builtin]
        assert len(entries) in (reported + 1, reported + 2)
        for entry in entries:
            assert entry.name == f"m{entry.lineage['number']}"
            for file in source.iterdir():
                assert (Path(entry.path) / file.name).read_bytes() == file.read_bytes()
