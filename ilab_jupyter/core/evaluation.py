"""SDK: the benchmarks of a model; a part of `Model`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ilab_jupyter import paths
from ilab_jupyter.configuration.arguments import EVALUATE
from ilab_jupyter.core.config import Config
from ilab_jupyter.errors import InvalidInput, wrong_field
from ilab_jupyter.evaluation import store
from ilab_jupyter.evaluation.benchmarks import Evaluation
from ilab_jupyter.evaluation.comparison import Against, Comparison, compare
from ilab_jupyter.evaluation.endpoint import Endpoint
from ilab_jupyter.evaluation.hosting import of_client
from ilab_jupyter.evaluation.results import AnyResult, DKBenchResult, MMLUResult, MTBenchResult, Result
from ilab_jupyter.evaluation.settings import EvaluationSettings, JudgeSettings
from ilab_jupyter.models import hub
from ilab_jupyter.progress import ConsoleReporter, Reporter
from ilab_jupyter.registry import Models

Judge = str | JudgeSettings | Mapping[str, Any]
PathLike = str | os.PathLike[str]


class Evaluated:
    """The evaluating methods of `Model`.

    All take `model_path` (registry name, folder or hub id; the model itself where None), `output_dir`
    (`evaluations/` in InstructLab's data folder where None), `device` and a `reporter`, and keep their result
    as JSON. The model is served on loopback for that time only.

    What a call leaves out is taken from the configuration's `evaluate` section, else it has the default that
    `EvaluationSettings` gives. `judge` is the URL of an OpenAI-compatible server, an openai client, a local
    model's name or folder, or the fields of `JudgeSettings`. Answers to which it gives no score are kept
    apart and counted in `error_rate`. All raise InvalidInput for a wrong argument, NotFound and Unprocessable
    for wrong data or models, TeacherError where the judge cannot be reached, Unavailable where a library or
    the hub is missing, and `progress.Stopped` where the reporter requests a stop.
    """

    student_model: str
    configuration: Config

    def evaluate_mt_bench(
        self,
        model_path: PathLike | None = None,
        judge: Judge | Any = None,
        *,
        questions: int | None = None,
        max_tokens: int | None = None,
        max_workers: int | None = None,
        output_dir: PathLike | None = None,
        device: str = "auto",
        reporter: Reporter | None = None,
    ) -> MTBenchResult:
        """MT-Bench: 80 questions of two turns, or the first `questions` of them, judged from 1 to 10."""
        settings = {
            "questions": questions,
            "max_tokens": max_tokens,
            "max_workers": max_workers,
            "output_dir": output_dir,
            "device": device,
        }
        return self._evaluation("mt_bench", model_path, judge, settings, reporter).run_mt_bench()

    mt_bench = evaluate_mt_bench

    def evaluate_mt_bench_branch(
        self,
        model_path: PathLike | None = None,
        judge: Judge | Any = None,
        *,
        taxonomy_path: PathLike | None = None,
        branch: str | None = None,
        base_model: PathLike | None = None,
        base_branch: str | None = None,
        max_tokens: int | None = None,
        max_workers: int | None = None,
        output_dir: PathLike | None = None,
        device: str = "auto",
        reporter: Reporter | None = None,
    ) -> Against:
        """The questions of the taxonomy's skills at `branch`, judged from 1 to 10 against their answers.

        With `base_model` also that one's, at `base_branch`, and the comparison. Nothing is checked out.
        """
        settings = {
            "taxonomy_path": taxonomy_path,
            "branch": branch,
            "base_model": base_model,
            "base_branch": base_branch,
            "max_tokens": max_tokens,
            "max_workers": max_workers,
            "output_dir": output_dir,
            "device": device,
        }
        return self._evaluation(
            "mt_bench_branch", model_path, judge, settings, reporter
        ).run_mt_bench_branch()

    def evaluate_mmlu_bench(
        self,
        model_path: PathLike | None = None,
        *,
        tasks: Sequence[str] = (),
        few_shots: int | None = None,
        data: PathLike | None = None,
        batch_size: int | None = None,
        output_dir: PathLike | None = None,
        device: str = "auto",
        reporter: Reporter | None = None,
    ) -> MMLUResult:
        """MMLU: the share of right answers, 0 to 1, over `tasks` (all 57 subjects where empty).

        `data` is a folder with a folder for each subject, which holds test.parquet or test.jsonl and, for the
        worked examples, dev.parquet or dev.jsonl, as `cais/mmlu` has them. Without it the hub's data is used;
        where neither cache nor hub has it, Unavailable before anything is loaded.
        """
        settings = {
            "tasks": list(tasks),
            "few_shots": few_shots,
            "data": data,
            "batch_size": batch_size,
            "output_dir": output_dir,
            "device": device,
        }
        return self._evaluation("mmlu", model_path, None, settings, reporter).run_mmlu()

    def evaluate_mmlu_branch(
        self,
        model_path: PathLike | None = None,
        *,
        tasks_dir: PathLike | None = None,
        base_model: PathLike | None = None,
        few_shots: int | None = None,
        batch_size: int | None = None,
        output_dir: PathLike | None = None,
        device: str = "auto",
        reporter: Reporter | None = None,
    ) -> Against:
        """MMLU-Branch: the questions of a generation's `node_datasets_*` folder, for one model or two."""
        settings = {
            "tasks_dir": tasks_dir,
            "base_model": base_model,
            "few_shots": few_shots,
            "batch_size": batch_size,
            "output_dir": output_dir,
            "device": device,
        }
        return self._evaluation("mmlu_branch", model_path, None, settings, reporter).run_mmlu_branch()

    def evaluate_dk_bench(
        self,
        model_path: PathLike | None = None,
        judge: Judge | Any = None,
        *,
        input_questions: PathLike | None = None,
        system_prompt: str | None = None,
        temperature: float | None = None,
        max_tokens: int = 768,
        max_workers: int | None = None,
        output_dir: PathLike | None = None,
        device: str = "auto",
        reporter: Reporter | None = None,
    ) -> DKBenchResult:
        """DK-Bench: own questions, a JSONL of {user_input, reference}, judged from 1 to 5.

        Rows that bring a `response` are judged as they are; the others are answered under `system_prompt`
        (InstructLab's own where None) at `temperature` (0 to 1).
        """
        settings = {
            "input_questions": input_questions,
            "system_prompt": system_prompt,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "max_workers": max_workers,
            "output_dir": output_dir,
            "device": device,
        }
        return self._evaluation("dk_bench", model_path, judge, settings, reporter).run_dk_bench()

    def evaluate(
        self,
        settings: EvaluationSettings | Mapping[str, Any],
        *,
        journal: PathLike | None = None,
        reporter: Reporter | None = None,
    ) -> AnyResult | Against:
        """The benchmark that `settings` name; what the `evaluate` job does.

        With `journal`, a file, each answer is kept as it comes: after a kill the same call asks only for what
        is missing, and a model or data that changed meanwhile for all of it.
        """
        given: dict[str, Any] = (
            settings.model_dump(exclude_unset=True)
            if isinstance(settings, EvaluationSettings)
            else dict(settings)
        )
        benchmark, judge = given.pop("benchmark", None), given.pop("judge", None)
        evaluation = self._evaluation(benchmark, given.pop("model", None), judge, given, reporter)
        return evaluation.run(None if journal is None else paths.given(journal))

    @staticmethod
    def compare(before: Result | PathLike, after: Result | PathLike) -> Comparison:
        """`after` against `before`, two results of one benchmark, or the folders that keep them.

        Says by question what became better, worse or stayed, and whether the difference is more than noise.
        """
        found = [item if isinstance(item, Result) else store.load(Path(item)) for item in (before, after)]
        return compare(*found)

    def _evaluation(
        self,
        benchmark: Any,
        model: PathLike | None,
        judge: Any,
        settings: Mapping[str, Any],
        reporter: Reporter | None,
    ) -> Evaluation:
        client: Endpoint | None = None
        rows = EVALUATE.get(benchmark, ()) if isinstance(benchmark, str) else ()
        configured = self.configuration.resolvable.arguments(rows)
        its_judge = configured.pop("judge", None)
        judge = its_judge if judge is None else judge
        if judge is not None and not isinstance(judge, str | Mapping | JudgeSettings | os.PathLike):
            client = of_client(judge)
            judge = {"url": client.url}
        values = {
            "benchmark": benchmark,
            "model": self.student_model if model is None else model,
            "judge": judge,
            **configured,
            **{name: value for name, value in settings.items() if value is not None},
        }
        texts = {name: os.fspath(value) for name, value in values.items() if isinstance(value, os.PathLike)}
        try:
            checked = EvaluationSettings.model_validate({**values, **texts})
        except ValidationError as error:
            raise InvalidInput(
                f"{wrong_field(error.errors()[0])}.", "See the arguments of the evaluation."
            ) from None
        reporter = reporter if reporter is not None else ConsoleReporter()
        return Evaluation(checked, hub.obtain(checked.model, Models(), reporter), reporter, client)
