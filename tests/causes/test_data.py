"""Wrong data: a row of a training file, a line of a taxonomy, a name that nothing has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.state import JobState

SAMPLE = Path(__file__).parents[2] / "notebooks/taxonomy"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"messages": [{"role": "user"', "not JSON at column"),
        ('{"messages": [{"role": "user", "content": "Why?"}]}', "no message of the assistant"),
        ('{"text": "Why?"}', "`messages` is missing"),
    ],
)
def test_a_wrong_row_is_named_with_its_file_and_line(
    works: Any, tiny: Path, pairs: Path, line: str, said: str
) -> None:
    lines = pairs.read_text().splitlines()
    pairs.write_text("\n".join([*lines[:4], "", line, *lines[4:]]) + "\n")
    job = works.ended("train", model=str(tiny), data=[str(pairs)], name="beekeeper", max_steps=1)
    assert (job.state, job.cause) == (JobState.FAILED, "bad_data")
    assert job.message.startswith("pairs.jsonl, row 6: ") and said in job.message
    assert job.hint.startswith("Correct the row")
    assert job.remedy == f"train {pairs} --name beekeeper --max-steps 1 --model {tiny}"


def test_invalid_leaf_is_reported_with_file_and_line(works: Any, tmp_path: Path) -> None:
    leaf = tmp_path / "taxonomy/compositional_skills/poems/qna.yaml"
    leaf.parent.mkdir(parents=True)
    leaf.write_text(
        "version: 2\ncreated_by: me\ntask_description: poems\nseed_examples:\n  - question: 'a' b\n"
    )
    job = works.ended("generate", taxonomy_path=str(tmp_path / "taxonomy"))
    assert (job.state, job.cause) == (JobState.FAILED, "bad_taxonomy")
    assert job.message.startswith("compositional_skills/poems/qna.yaml:5: "), job.message
    assert job.remedy == f"generate {tmp_path / 'taxonomy'}"


def test_missing_data_and_models_suggest_their_lists(works: Any, tiny: Path, pairs: Path) -> None:
    no_data = works.ended("train", model=str(tiny), data=["nothing"])
    assert (no_data.cause, no_data.remedy) == ("data_missing", "data") and "'nothing'" in no_data.message
    no_model = works.ended("train", model="nobody", data=[str(pairs)])
    assert (no_model.cause, no_model.remedy) == ("model_missing", "models") and "'nobody'" in no_model.message
    served = works.ended("serve", model="nobody")
    assert (served.cause, served.remedy) == ("model_missing", "models")


def test_remedy_of_taken_name_contains_free_name(works: Any, tiny: Path, pairs: Path) -> None:
    first = works.ended("train", model=str(tiny), data=[str(pairs)], name="mine", max_steps=1)
    assert first.state is JobState.SUCCEEDED, works.log(first)
    job = works.ended("train", model=str(tiny), data=[str(pairs)], name="mine", max_steps=1)
    assert (job.state, job.cause) == (JobState.FAILED, "conflict")
    assert job.remedy == f"train {pairs} --name mine-2 --max-steps 1 --model {tiny}"


def test_a_checkpoint_of_other_data_is_not_continued(works: Any, tiny: Path, pairs: Path) -> None:
    job = works.submit("train", model=str(tiny), data=[str(pairs)], save_steps=1, max_steps=400, batch_size=1)
    while "artifact" not in {event.type for event in works.jobs.events(job.id)}:
        assert not works.jobs.get(job.id).state.ended, works.log(job)
    works.jobs.cancel(job.id)
    assert works.end(job).cause == "cancelled"
    row = json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})
    pairs.write_text(row + "\n")
    works.jobs.resume(job.id)
    ended = works.end(job)
    assert (ended.state, ended.cause) == (JobState.FAILED, "checkpoint_mismatch")
    assert ended.remedy.startswith(f"train {pairs} ")
