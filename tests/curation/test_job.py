"""Curation as a job: the same calls, in a process of their own, with progress and a typed end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.core import Data
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.kinds.catalog import job_spec
from tests.curation.making import questions, row, run_folder, write


def ended(arguments: dict[str, Any]) -> Any:
    jobs = SyncJobs(LocalJobs())
    job = jobs.submit(job_spec("curate", arguments))
    *_, end = jobs.watch(job.id)
    assert end.type == "end"
    return jobs.get(job.id)


def test_a_large_dataset_is_deduplicated_by_a_job(tmp_path: Path) -> None:
    rows = [row(f"Question {position // 2} of many?", f"Answer {position // 2}.") for position in range(1200)]
    job = ended({"operation": "dedup", "data": [str(write(tmp_path / "a.jsonl", rows))]})
    assert job.state is JobState.SUCCEEDED, job.message
    assert (job.result["rows"], job.result["kept"]) == (1200, 600)
    assert len(questions(job.result["output"])) == 600
    assert (job.progress.step, job.progress.total) == (1000, 1200)
    assert Data.validate(job.result["output"]).ok


def test_a_wrong_row_ends_the_job_with_its_place(tmp_path: Path) -> None:
    run_folder("run")
    file = write(tmp_path / "a.jsonl", [row("Who mends nets?", "Him."), {"messages": 0}])
    job = ended({"operation": "leakage", "data": [str(file)], "evaluation": ["run"]})
    assert (job.state, job.cause) == (JobState.FAILED, "bad_data")
    assert "a.jsonl, row 2" in job.message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"operation": "burn", "data": ["a"]}, "operation"),
        ({"operation": "dedup", "data": []}, "data"),
        ({"operation": "dedup", "data": ["a"], "threshold": 2}, "threshold"),
        ({"operation": "leakage", "data": ["a"]}, "leakage needs an evaluation"),
        ({"operation": "mix", "data": ["a", "b"]}, "one recipe"),
    ],
)
def test_a_wrong_argument_is_refused_before_there_is_a_job(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        job_spec("curate", arguments)
