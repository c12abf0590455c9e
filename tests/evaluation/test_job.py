"""The `evaluate` job, from its spec to its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.evaluation import store
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.tasks import catalog


def test_an_evaluate_job_ends_with_the_score_and_where_the_rest_is(student: Path, judge_server: Any) -> None:
    judge = judge_server(lambda prompt: "[[6]]")
    spec = catalog.job_spec(
        "evaluate",
        {
            "benchmark": "mt_bench",
            "model": str(student),
            "judge": judge.url,
            "questions": 2,
            "max_tokens": 4,
            "device": "cpu",
        },
    )
    service = LocalJobs()
    jobs = SyncJobs(service)
    try:
        id = jobs.submit(spec).id
        for _ in jobs.watch(id):
            pass
        job = jobs.get(id)
        assert job.state is JobState.SUCCEEDED, job
        assert job.result["score"] == 6 and "questions" not in job.result
        log = jobs.logs(id).text
        assert "judging" in log and "it/s]" not in log
        assert len(store.load(Path(job.result["path"])).questions) == 2
    finally:
        service.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "benchmark"),
        ({"benchmark": "arena"}, "benchmark"),
        ({"benchmark": "mt_bench"}, "needs a judge"),
        ({"benchmark": "dk_bench", "judge": "org/judge"}, "needs input_questions"),
        ({"benchmark": "mmlu", "few_shots": -1}, "few_shots"),
        ({"benchmark": "mmlu_branch", "tasks_dir": "x", "base_branch": "y"}, "needs base_model"),
    ],
)
def test_an_evaluate_job_names_what_is_wrong(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        catalog.job_spec("evaluate", arguments)
