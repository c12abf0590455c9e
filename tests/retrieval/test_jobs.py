"""Documents are ingested and stored by jobs, with the arguments and the result of the SDK."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.core import RAG
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import Job
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.kinds.catalog import job_spec
from tests.support.models import STORIES

pytestmark = pytest.mark.slow


@pytest.fixture
def jobs() -> Iterator[SyncJobs]:
    service = LocalJobs()
    yield SyncJobs(service)
    service.close()


def ended(jobs: SyncJobs, kind: str, **arguments: Any) -> Job:
    job = jobs.submit(job_spec(kind, arguments))
    until = time.monotonic() + 240
    while not jobs.get(job.id).state.ended and time.monotonic() < until:
        time.sleep(0.2)
    return jobs.get(job.id)


def test_documents_are_ingested_then_stored(jobs: SyncJobs, tmp_path: Path, embedding: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "nets.txt").write_text(STORIES[0])
    (folder / "broken.docx").write_text("nothing")
    made = ended(jobs, "ingest", documents=[str(folder)], output_dir=str(tmp_path / "made"))
    assert made.state == "SUCCEEDED"
    assert [document["output"] for document in made.result["documents"]] == ["nets.txt.md"]
    assert [failure["reason"] for failure in made.result["failures"]] == ["broken"]

    model = {"uri": str(tmp_path / "store"), "embedding_model": str(embedding)}
    kept = ended(jobs, "rag", input_dir=str(tmp_path / "made"), **model)
    assert kept.state == "SUCCEEDED" and kept.result["total"] == 1
    assert RAG(**model).search("nets").hits[0].document == "nets.txt"

    failed = ended(jobs, "rag", input_dir=str(folder), uri=model["uri"], embedding_model="nobody/nothing")
    assert (failed.state, failed.cause) == ("FAILED", "model_missing")


def test_a_wrong_argument_is_refused_before_there_is_a_job() -> None:
    for kind, arguments in (
        ("ingest", {"documents": []}),
        ("ingest", {"documents": ["x"], "chunk_tokens": 0}),
        ("rag", {"collection": "../up"}),
        ("rag", {"colection": "x"}),
    ):
        with pytest.raises(InvalidInput):
            job_spec(kind, arguments)
