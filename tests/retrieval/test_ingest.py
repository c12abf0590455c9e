"""A second run does only what changed, a killed one is taken up, and nobody else's files are touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from ilab_jupyter.core import Data
from ilab_jupyter.errors import Conflict, InvalidInput, NotFound, TooLarge, Unprocessable
from ilab_jupyter.progress import Stopped
from ilab_jupyter.retrieval.results import IngestResult
from tests.retrieval.conftest import Quiet

pytestmark = pytest.mark.slow


def ingest(folder: Path, output: Path, **more: Any) -> IngestResult:
    return Data().ingest(folder, output, reporter=Quiet(), **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "documents"
    made.mkdir()
    (made / "a.txt").write_text("Maren mends the nets.")
    (made / "b.txt").write_text("The baker's door is green.")
    return made


def stamps(output: Path) -> dict[str, int]:
    shown = [path for path in output.rglob("*") if path.is_file() and path.name != "lock"]
    return {str(path): path.stat().st_mtime_ns for path in shown}


def test_ingest_repeats_only_changed_documents(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert ingest(folder, output).unchanged == 0
    before = stamps(output)
    assert ingest(folder, output).unchanged == 2
    assert stamps(output) == before

    (folder / "b.txt").write_text("The baker's door is red.")
    (output / "mine.md").write_text("mine")
    assert ingest(folder, output).unchanged == 1
    after = stamps(output)
    assert (output / "b.txt.md").read_text() == "The baker's door is red.\n"
    assert after[str(output / "a.txt.md")] == before[str(output / "a.txt.md")]
    assert "green" not in (output / "chunks.jsonl").read_text()

    (folder / "a.txt").unlink()
    ingest(folder, output)
    assert (output / "a.txt.md").exists() and "Maren" in (output / "chunks.jsonl").read_text()
    ingest(folder, output, prune=True)
    assert not (output / "a.txt.md").exists() and "Maren" not in (output / "chunks.jsonl").read_text()
    assert (output / "mine.md").read_text() == "mine"

    # other chunks are wanted: everything is read again
    assert ingest(folder, output, chunk_tokens=16).unchanged == 0


def test_foreign_files_are_never_overwritten(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "a.txt.md").write_text("my own words")
    (output / "b.txt.md").symlink_to(tmp_path / "elsewhere")
    result = ingest(folder, output)
    assert {failure.reason for failure in result.failures} == {"conflict"} and len(result.failures) == 2
    assert (output / "a.txt.md").read_text() == "my own words"
    assert not (tmp_path / "elsewhere").exists()


KILLED = """
import os, signal, sys
from ilab_jupyter.core import Data
from tests.retrieval.conftest import Quiet

class Killing(Quiet):
    def progress(self, step, total, **metrics):
        if step == 3:
            os.kill(os.getpid(), signal.SIGKILL)

Data().ingest(sys.argv[1], sys.argv[2], reporter=Killing())
"""


def readers_of(session: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "ppid"]):
        if (
            "ilab_jupyter.retrieval.process" in (process.info["cmdline"] or ())
            and process.info["ppid"] == session
        ):
            found.append(process)
    return found


def test_killed_run_is_continued(folder: Path, tmp_path: Path) -> None:
    for number in range(6):
        (folder / f"c{number}.txt").write_text(f"Boat {number} leaves at {number}.")
    command = [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "out")]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
    assert process.wait(timeout=240) == -signal.SIGKILL
    until = time.monotonic() + 10
    while readers_of(process.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not readers_of(process.pid), "the reading process ended with it"

    taken_up = ingest(folder, tmp_path / "out")
    assert taken_up.unchanged == 3 and len(taken_up.documents) == 8
    whole = ingest(folder, tmp_path / "whole")
    assert (tmp_path / "out/chunks.jsonl").read_bytes() == (tmp_path / "whole/chunks.jsonl").read_bytes()
    assert json.loads(Path(taken_up.manifest).read_bytes()) == json.loads(Path(whole.manifest).read_bytes())
    assert not (tmp_path / "out/.ilab-ingest/work").exists()


def test_stopped_ingest_keeps_finished_documents_and_excludes_other_runs(
    folder: Path, tmp_path: Path
) -> None:
    refused: list[Conflict] = []

    class Stopping(Quiet):
        def progress(self, step: int, total: int | None, **metrics: object) -> None:
            with pytest.raises(Conflict, match="Another process") as caught:
                ingest(folder, tmp_path / "out")
            refused.append(caught.value)
            self.stopping = step == 1

    with pytest.raises(Stopped):
        Data().ingest(folder, tmp_path / "out", reporter=Stopping())
    assert refused and (tmp_path / "out/a.txt.md").exists() and not (tmp_path / "out/b.txt.md").exists()


def test_a_leaf_can_name_the_commit_of_the_markdown(folder: Path, tmp_path: Path) -> None:
    first = ingest(folder, tmp_path / "out", as_knowledge=True)
    named = yaml.safe_load(first.document_block())["document"]
    assert named["patterns"] == ["a.txt.md", "b.txt.md"]
    assert Path(named["repo"].removeprefix("file://")).is_relative_to(tmp_path / "home")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", named["repo"], str(clone)], check=True)
    subprocess.run(["git", "-C", str(clone), "checkout", "-q", named["commit"]], check=True)
    assert (clone / "a.txt.md").read_text() == "Maren mends the nets.\n"

    assert ingest(folder, tmp_path / "out", as_knowledge=True).knowledge == first.knowledge
    (folder / "a.txt").write_text("Maren rests.")
    second = ingest(folder, tmp_path / "out", as_knowledge=True).knowledge
    assert second is not None and second.commit != named["commit"]
    # what a leaf names already can still be had
    shown = ["git", "-C", second.repository, "show", f"{named['commit']}:a.txt.md"]
    assert (
        subprocess.run(shown, capture_output=True, text=True, check=True).stdout == "Maren mends the nets.\n"
    )

    (tmp_path / "theirs").mkdir()
    subprocess.run(["git", "init", "-q", str(tmp_path / "theirs")], check=True)
    with pytest.raises(Conflict, match="not a repository that ingest made"):
        ingest(folder, tmp_path / "out", as_knowledge=tmp_path / "theirs")


@pytest.mark.parametrize(
    ("documents", "more", "error", "said"),
    [
        ("nowhere", {}, NotFound, "nowhere"),
        ("documents", {"chunk_tokens": 1}, InvalidInput, "chunk_tokens"),
        ("documents", {"chunk_token": 20}, InvalidInput, "chunk_token"),
        ("documents", {"max_documents": 1}, TooLarge, "more than 1"),
        ("documents", {"tokenizer": "nowhere"}, InvalidInput, r"tokenizer\.json"),
        ("documents", {"pdf_models": "nowhere"}, InvalidInput, "pdf_models"),
        ("empty", {}, Unprocessable, "no document"),
        ("picture.png", {}, InvalidInput, "no format"),
        ("pipe", {}, InvalidInput, "neither a file nor a folder"),
    ],
)
def test_what_cannot_be_ingested_is_said_before_anything_is_read(
    folder: Path, tmp_path: Path, documents: str, more: dict[str, Any], error: type[Exception], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "picture.png").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(error, match=said):
        ingest(tmp_path / documents, tmp_path / "out", **more)
    assert not list(tmp_path.rglob("*.md"))


def test_documents_are_never_written_beside_themselves(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="the documents themselves"):
        ingest(folder, folder)
    # a folder below them is fine, and what is made there is no document
    assert len(ingest(folder, folder / "out").documents) == 2
    assert len(ingest(folder, folder / "out").documents) == 2


def test_documents_of_same_name_are_distinguished_or_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Another.")
    with pytest.raises(InvalidInput, match=r"would both become 'a\.txt'"):
        Data().ingest([folder, tmp_path / "a.txt"], tmp_path / "out", reporter=Quiet())
    with pytest.raises(InvalidInput, match="No documents were given"):
        Data().ingest(reporter=Quiet())
    result = Data(data_path=folder / "a.txt").ingest(output_dir=tmp_path / "out", reporter=Quiet())
    assert [document.name for document in result.documents] == ["a.txt"]
