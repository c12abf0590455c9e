"""What a generation with the embedded teacher leaves behind, for all three kinds of leaf and both
pipelines.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.core import Data
from ilab_jupyter.core.data import GenerateResult

SCRIPT = """
import json, sys
from ilab_jupyter.core import Data
arguments = json.loads(sys.argv[1])
run_dir = arguments.pop("run_dir")
print(Data(**arguments).generate_data(run_dir=run_dir).model_dump_json())
"""


def rows_of(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def turns_of(path: str | Path) -> list[tuple[str, str]]:
    rows = [{turn["role"]: turn["content"] for turn in row["messages"]} for row in rows_of(path)]
    return [(row["user"], row["assistant"]) for row in rows]


@pytest.fixture(scope="session")
def runs(
    sample: Path, tmp_path_factory: pytest.TempPathFactory, recorder: Callable[..., Any]
) -> dict[str, Any]:
    """Each pipeline once, and `again`: simple in a process of its own, with other hashes and another
    folder.
    """
    folder = tmp_path_factory.mktemp("runs")
    asked = {"taxonomy_path": str(sample), "scale": 2, "batch_size": 32}
    there = {"output_dir": str(folder / "again"), "name": "again", "run_dir": str(folder / "again-run")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        again = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, json.dumps({**asked, **there})],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "7"},
        )
        done: dict[str, Any] = {"folder": folder}
        for pipeline in ("simple", "full"):
            reporter = recorder()
            data = Data(**asked, pipeline=pipeline, output_dir=folder, name=pipeline)
            done[pipeline] = data.generate_data(run_dir=folder / f"{pipeline}-run", reporter=reporter)
            done[f"{pipeline} events"] = reporter
        printed, _ = again.communicate(timeout=240)
    done["again"] = GenerateResult.model_validate_json(printed)
    return done


def test_all_three_leaves_give_rows_with_either_pipeline(runs: dict[str, Any]) -> None:
    for pipeline in ("simple", "full"):
        result = runs[pipeline]
        assert len(result.rows_per_leaf) == 3
        assert all(rows >= 12 for rows in result.rows_per_leaf.values())
        assert result.rows == sum(result.rows_per_leaf.values())
        assert set(result.files) == {"skills", "knowledge", "messages", "train", "test"}
        assert not any(result.rejected.values())


def test_the_folder_has_instructlabs_names_and_nothing_half_written(runs: dict[str, Any]) -> None:
    for pipeline in ("simple", "full"):
        folder = Path(runs[pipeline].path)
        suffix = Path(runs[pipeline].files["messages"]).stem.removeprefix("messages_")
        names = {path.name for path in folder.iterdir()}
        assert names == {
            *(f"{stem}_{suffix}.jsonl" for stem in ("skills_train_msgs", "knowledge_train_msgs")),
            *(f"{stem}_{suffix}.jsonl" for stem in ("messages", "train", "test")),
            *(f"{stem}_recipe_{suffix}.yaml" for stem in ("skills", "knowledge")),
            *(f"{stem}_{suffix}" for stem in ("node_datasets", "preprocessed", "generated")),
            "ilab-lineage.json",
        }
        assert not [path for path in folder.rglob("*") if "partial" in path.name]
    assert not [path for path in runs["folder"].iterdir() if path.name.endswith(".partial")]


def test_the_same_input_gives_the_same_rows_in_another_process(runs: dict[str, Any]) -> None:
    first, again = runs["simple"], runs["again"]
    for role, path in first.files.items():
        assert rows_of(path) == rows_of(again.files[role]), role


def test_each_question_has_one_answer_from_text_or_seeds(runs: dict[str, Any], sample: Path) -> None:
    document = " ".join((sample / "documents/brindle_fell/railway.md").read_text().split())
    seeds = " ".join(path.read_text() for path in sample.rglob("qna.yaml"))
    answers = defaultdict(set)
    for question, answer in turns_of(runs["simple"].files["messages"]):
        answers[question].add(answer)
        assert answer in document or answer in seeds
    assert len(answers) > 100
    assert all(len(found) == 1 for found in answers.values())


def test_examples_are_short_enough_for_the_starter_model(runs: dict[str, Any]) -> None:
    lengths = [len(f"{user} {reply}".split()) for user, reply in turns_of(runs["simple"].files["messages"])]
    assert max(lengths) < 120


def test_rows_and_lineage_name_extractive_teacher(runs: dict[str, Any]) -> None:
    for pipeline in ("simple", "full"):
        result = runs[pipeline]
        for role in ("skills", "knowledge", "messages"):
            assert {json.loads(row["metadata"])["teacher"] for row in rows_of(result.files[role])} == {
                "extractive"
            }
        lineage = json.loads((Path(result.path) / "ilab-lineage.json").read_text())
        assert lineage["extractive"] is True
        assert lineage["teacher"] == {"kind": "embedded", "model": "extractive", "extractive": True}
        assert lineage["rows"] == result.rows
        assert lineage["pipeline"] == pipeline
        assert lineage["libraries"]["instructlab-sdg"].startswith("0.8.")


def test_counts_tell_repeated_rows_from_different_ones(runs: dict[str, Any]) -> None:
    result = runs["simple"]
    pairs = turns_of(result.files["skills"])
    assert result.rows_per_file["skills"] == len(pairs)
    assert result.distinct_per_file["skills"] == len(set(pairs)) < len(pairs)


def test_multiple_choice_tasks_point_to_where_the_dataset_is_now(runs: dict[str, Any]) -> None:
    import yaml

    folder = Path(runs["simple"].path)
    [task] = folder.glob("node_datasets_*/*_task.yaml")
    data = Path(yaml.safe_load(task.read_text())["dataset_kwargs"]["data_files"]["test"])
    assert data.is_relative_to(folder)
    questions = rows_of(data)
    assert len(questions) > 10
    assert all(len(set(row["choices"])) == 4 for row in questions)


def test_progress_names_leaf_block_and_rows_and_reaches_its_total(runs: dict[str, Any]) -> None:
    reporter = runs["simple events"]
    assert [name for name in reporter.phases if name != "generating"] == [
        "validating",
        "preparing",
        "mixing",
        "saving",
    ]
    steps = [step for step, _, _ in reporter.steps]
    assert steps == sorted(steps)
    step, total, _ = reporter.steps[-1]
    assert step == total
    assert {metrics["leaf"].split("/")[0] for _, _, metrics in reporter.steps} == {
        "compositional_skills",
        "knowledge",
    }
    blocks = {metrics["block"] for _, _, metrics in reporter.steps}
    assert "gen_knowledge" in blocks and "gen_skill_freeform" in blocks
    for pipeline in ("simple", "full"):
        step, total, metrics = runs[f"{pipeline} events"].steps[-1]
        assert step == total, "samples, of the test's questions too"
        assert metrics["rows"] == runs[pipeline].rows
        assert metrics["leaf_step"] == metrics["leaf_total"] > 0
        assert metrics["eta_seconds"] == 0
    told = {entry[1]["leaf"]: entry[1] for entry in runs["full events"].events if entry[0] == "leaf"}
    assert len(told) == 3
    [railway] = [entry for leaf, entry in told.items() if leaf.startswith("knowledge")]
    assert railway["blocks"]["gen_knowledge"] >= railway["blocks"]["eval_faithfulness_qa_pair"] > 0


def test_the_users_taxonomy_is_not_touched(runs: dict[str, Any], sample: Path) -> None:
    leaf = (sample / "knowledge/transport/railways/brindle_fell/qna.yaml").read_text()
    assert "commit: local" in leaf
    assert not list(sample.rglob(".git"))
