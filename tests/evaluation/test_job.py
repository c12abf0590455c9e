"""The arguments of the `evaluate` job; test_resume.py runs one to its result."""

from __future__ import annotations

from typing import Any

import pytest

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.kinds import catalog


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
