"""MMLU on local data, MMLU-Branch on a generation's tasks; the model really answers, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.core import Model
from ilab_jupyter.errors import InvalidInput, NotFound, Unavailable, Unprocessable
from ilab_jupyter.progress import ConsoleReporter

CPU: dict[str, Any] = {"device": "cpu", "few_shots": 1}


def rows(file: Path, count: int) -> Path:
    """So many questions with four choices."""
    file.parent.mkdir(parents=True, exist_ok=True)
    told = [
        {"question": f"What is {n}?", "choices": ["one", "two", "three", "four"], "answer": n % 4}
        for n in range(count)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in told))
    return file


@pytest.fixture
def mmlu(tmp_path: Path) -> Path:
    """Two subjects, as a folder."""
    folder = tmp_path / "mmlu"
    for subject in ("anatomy", "virology"):
        rows(folder / subject / "test.jsonl", 6)
        rows(folder / subject / "dev.jsonl", 2)
    return folder


@pytest.fixture
def node_datasets(tmp_path: Path) -> Path:
    """What a generation leaves, moved to another place afterwards."""
    folder = tmp_path / "node_datasets"
    rows(folder / "mmlubench_knowledge_birds.jsonl", 8)
    task = {
        "task": "knowledge_birds",
        "tag": "mmlu_pr",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "/elsewhere/mmlubench_knowledge_birds.jsonl"}},
    }
    (folder / "knowledge_birds_task.yaml").write_text(json.dumps(task))
    return folder


def shown_to_the_model(folder: Path) -> list[tuple[str, str]]:
    """(question, prompt) of each answer that lm_eval asked for, by its own words."""
    from lm_eval.tasks import TaskManager, get_task_dict

    (definition,) = (folder / "tasks").glob("*.yaml")
    (task,) = get_task_dict(
        [json.loads(definition.read_text())], TaskManager(include_defaults=False)
    ).values()
    task.set_config("num_fewshot", 3)
    task.set_fewshot_seed(1)
    return [(doc["question"], task.fewshot_context(doc, 3)) for doc in task.test_docs()]


def test_no_question_is_a_worked_example_of_itself(student: Path, tmp_path: Path) -> None:
    rows(tmp_path / "mmlu/harbour/test.jsonl", 4)
    told: list[str] = []

    class Told(ConsoleReporter):
        def warning(self, message: str, hint: str = "") -> None:
            told.append(message)

    result = Model(student).evaluate_mmlu_bench(data=tmp_path / "mmlu", device="cpu", reporter=Told())
    assert len(result.questions) == 4 and told == ["harbour has only 3 worked examples for each question."]
    for question, prompt in shown_to_the_model(Path(result.path)):
        assert prompt.count(question) == 1 and prompt.count("Answer:") == 4


def test_mmlu_uses_data_of_folder(student: Path, mmlu: Path) -> None:
    result = Model(student).evaluate_mmlu_bench(data=mmlu, tasks=["virology"], **CPU)
    assert set(result.groups) == {"virology"} and len(result.questions) == 6
    right = [question.score for question in result.questions]
    assert set(right) <= {0.0, 1.0} and result.score == pytest.approx(sum(right) / 6)
    assert result.stderr is not None and "mmlu of" in str(result)


def test_two_models_are_compared_on_the_tasks_of_a_generation(
    student: Path, other_student: Path, node_datasets: Path
) -> None:
    both = Model(student).evaluate_mmlu_branch(
        tasks_dir=node_datasets, base_model=other_student, device="cpu", few_shots=0
    )
    assert both.base is not None and both.comparison is not None
    assert len(both.model.questions) == len(both.comparison.questions) == 8
    assert both.comparison.difference == pytest.approx(both.model.score - both.base.score)
    assert Model.compare(both.base.path, both.model.path) == both.comparison


def test_a_task_file_brings_no_code(student: Path, node_datasets: Path, tmp_path: Path) -> None:
    (node_datasets / "evil.py").write_text(
        f"open({str(tmp_path / 'canary')!r}, 'w')\ndef run(doc): return doc"
    )
    file = node_datasets / "knowledge_birds_task.yaml"
    told = json.loads(file.read_text())
    file.write_text(json.dumps(told)[:-1] + ', "process_docs": !function evil.run}')
    with pytest.raises(Unprocessable, match="is no task"):
        Model(student).evaluate_mmlu_branch(tasks_dir=node_datasets, **CPU)
    text = "{{ cycler.__init__.__globals__.os.system('touch " + str(tmp_path / "canary") + "') }}"
    file.write_text(json.dumps({**told, "doc_to_text": text}))
    Model(student).evaluate_mmlu_branch(tasks_dir=node_datasets, device="cpu", few_shots=0)
    assert not (tmp_path / "canary").exists()


def test_mmlu_without_its_data_is_said_before_anything_is_loaded(student: Path) -> None:
    with pytest.raises(Unavailable, match="the hub cannot be reached") as caught:
        Model(student).evaluate_mmlu_bench(**CPU)
    assert caught.value.cause == "hub_unreachable" and "data=" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "row 9"),
        ('{"question": "q", "choices": ["a"], "answer": 0}', "row 9"),
        ('{"question": "q", "choices": ["a", "b", "c", "d"], "answer": 4}', "row 9"),
    ],
)
def test_a_wrong_question_is_named(student: Path, node_datasets: Path, line: str, said: str) -> None:
    with (node_datasets / "mmlubench_knowledge_birds.jsonl").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(Unprocessable, match=said):
        Model(student).evaluate_mmlu_branch(tasks_dir=node_datasets, **CPU)


def test_data_that_is_missing_is_named(
    student: Path, mmlu: Path, node_datasets: Path, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match="no data of 'law'"):
        Model(student).evaluate_mmlu_bench(data=mmlu, tasks=["law"], **CPU)
    with pytest.raises(InvalidInput, match="no task 'law'"):
        Model(student).evaluate_mmlu_bench(tasks=["law"], **CPU)
    with pytest.raises(NotFound, match="There is no folder"):
        Model(student).evaluate_mmlu_bench(data=tmp_path / "nothing", **CPU)
    with pytest.raises(NotFound, match="has no task"):
        Model(student).evaluate_mmlu_branch(tasks_dir=mmlu, **CPU)
    (node_datasets / "mmlubench_knowledge_birds.jsonl").unlink()
    with pytest.raises(NotFound, match="is not beside it"):
        Model(student).evaluate_mmlu_branch(tasks_dir=node_datasets, **CPU)
