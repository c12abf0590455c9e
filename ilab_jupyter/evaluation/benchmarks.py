"""Run the five benchmarks from their settings and store the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from ilab_jupyter import paths
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.evaluation import branch, choice, dk_bench, mt_bench, store
from ilab_jupyter.evaluation.answers import Answers, kept
from ilab_jupyter.evaluation.comparison import Against, compare
from ilab_jupyter.evaluation.endpoint import Endpoint
from ilab_jupyter.evaluation.results import (
    AnyResult,
    DKBenchResult,
    MMLUBranchResult,
    MMLUResult,
    MTBenchBranchResult,
    MTBenchResult,
    QuestionScore,
    groups,
    stderr,
)
from ilab_jupyter.evaluation.settings import EvaluationSettings
from ilab_jupyter.progress import Reporter
from ilab_jupyter.registry import Models

Kept = TypeVar("Kept", MTBenchResult, MTBenchBranchResult, MMLUResult, MMLUBranchResult, DKBenchResult)


class Evaluation:
    """One evaluation: its settings, the checked folder of the model, and the progress reporter.

    `judge` overrides the judge of the settings, for a caller that passes an openai client.
    """

    def __init__(
        self, settings: EvaluationSettings, model: Path, reporter: Reporter, judge: Endpoint | None = None
    ) -> None:
        self.settings = settings
        self.reporter = reporter
        self._model = model
        self._judge = judge
        self._models = Models()
        self._answers = Answers()

    def run_mt_bench(self) -> MTBenchResult:
        """Run MT-Bench; see `mt_bench.run` for the errors."""
        folder = self._folder(self.settings.model)
        scored = mt_bench.run(self._parameters(self._model), folder, "mt_bench", self.settings.questions)
        return self._kept(
            MTBenchResult(
                judge=scored.judge,
                score=scored.score,
                turn_scores=scored.turn_scores,
                rejected=scored.rejected,
                error_rate=scored.error_rate,
                **self._facts(self.settings.model, folder, scored.questions, mt_bench.SCALE),
            )
        )

    def run_mt_bench_branch(self) -> Against:
        """Run MT-Bench-Branch for the model on its branch and for the base model, if any, on the base branch.

        Both branches are looked up before either model is loaded.
        """
        settings = self.settings
        taxonomy = paths.given(settings.taxonomy_path or "")
        own = branch.at(taxonomy, settings.branch)
        base_branch = settings.base_branch or settings.branch
        its = branch.at(taxonomy, base_branch)
        base = self._base()

        def one(model: Path, name: str, revision: str, repository: Any) -> MTBenchBranchResult:
            folder = self._folder(name)
            branch.write_questions(repository, folder)
            scored = mt_bench.run(self._parameters(model), folder, "mt_bench_branch")
            result = MTBenchBranchResult(
                judge=scored.judge,
                score=scored.score,
                branch=revision,
                commit=repository.commit,
                rejected=scored.rejected,
                error_rate=scored.error_rate,
                **self._facts(name, folder, scored.questions, mt_bench.SCALE),
            )
            return self._kept(result)

        first = one(self._model, settings.model, settings.branch, own)
        if base is None:
            return Against(model=first)
        second = one(base, settings.base_model or "", base_branch, its)
        return Against(model=first, base=second, comparison=compare(second, first))

    def run_mmlu(self) -> MMLUResult:
        """Run MMLU on the data of a folder, or on the hub's."""
        settings = self.settings
        if settings.data is not None:
            tasks = choice.local_tasks(paths.given(settings.data), settings.tasks)
        else:
            tasks = choice.hub_tasks(settings.tasks)
        folder = self._folder(settings.model)
        score, questions = self._chosen(tasks, self._model, folder)
        facts = self._facts(settings.model, folder, questions, choice.SCALE)
        return self._kept(MMLUResult(score=score, few_shots=settings.few_shots, **facts))

    def run_mmlu_branch(self) -> Against:
        """Run MMLU-Branch on generated questions, for the model and for the base model, if any."""
        settings = self.settings
        tasks_dir = paths.given(settings.tasks_dir or "").absolute()
        tasks = choice.branch_tasks(tasks_dir)
        base = self._base()

        def one(model: Path, name: str) -> MMLUBranchResult:
            folder = self._folder(name)
            score, questions = self._chosen(tasks, model, folder)
            facts = self._facts(name, folder, questions, choice.SCALE)
            return self._kept(
                MMLUBranchResult(score=score, few_shots=settings.few_shots, tasks_dir=str(tasks_dir), **facts)
            )

        first = one(self._model, settings.model)
        if base is None:
            return Against(model=first)
        second = one(base, settings.base_model or "")
        return Against(model=first, base=second, comparison=compare(second, first))

    def run_dk_bench(self) -> DKBenchResult:
        """Run DK-Bench on a file of user-provided questions."""
        settings = self.settings
        file = paths.given(settings.input_questions or "").absolute()
        rows = dk_bench.read(file)
        folder = self._folder(settings.model)
        scored = dk_bench.run(self._parameters(self._model), rows, folder)
        return self._kept(
            DKBenchResult(
                judge=scored.judge,
                score=scored.score,
                input_questions=str(file),
                rejected=scored.rejected,
                error_rate=len(scored.rejected) / len(rows),
                **self._facts(settings.model, folder, scored.questions, dk_bench.SCALE),
            )
        )

    def run(self, journal: Path | None = None) -> AnyResult | Against:
        """Run the benchmark that the settings name.

        `journal` is the file that stores the answers; answers of an earlier attempt are reused.
        """
        benchmarks: dict[str, Any] = {
            "mt_bench": self.run_mt_bench,
            "mt_bench_branch": self.run_mt_bench_branch,
            "mmlu": self.run_mmlu,
            "mmlu_branch": self.run_mmlu_branch,
            "dk_bench": self.run_dk_bench,
        }
        with kept(journal) as self._answers:
            result: AnyResult | Against = benchmarks[self.settings.benchmark]()
        return result

    def _parameters(self, model: Path) -> mt_bench.Parameters:
        settings = self.settings
        judge = self._judge or settings.judge
        if judge is None:
            raise InvalidInput(
                f"{settings.benchmark} needs a judge.",
                "Give the URL of an OpenAI-compatible server, or the name of a local model.",
            )
        return mt_bench.Parameters(
            model=model,
            judge=judge,
            models=self._models,
            reporter=self.reporter,
            answers=self._answers,
            device=settings.device,
            max_workers=settings.max_workers,
            max_tokens=settings.max_tokens,
            system_prompt=settings.system_prompt,
            temperature=settings.temperature,
        )

    def _chosen(
        self, tasks: list[choice.Task], model: Path, folder: Path
    ) -> tuple[float, tuple[QuestionScore, ...]]:
        settings = self.settings
        return choice.run(
            tasks,
            model,
            folder,
            few_shots=settings.few_shots,
            batch_size=settings.batch_size,
            device=settings.device,
            reporter=self.reporter,
            answers=self._answers,
        )

    def _base(self) -> Path | None:
        base = self.settings.base_model
        return None if base is None else self._models.resolve(base)

    def _folder(self, model: str) -> Path:
        output = self.settings.output_dir
        root = None if output is None else paths.given(output)
        return store.new_folder(root, self.settings.benchmark, model)

    def _facts(
        self, model: str, folder: Path, questions: tuple[QuestionScore, ...], scale: tuple[float, float]
    ) -> dict[str, Any]:
        return {
            "model": model,
            "scale": scale,
            "stderr": stderr([question.score for question in questions]),
            "groups": groups(questions),
            "questions": questions,
            "versions": store.versions(),
            "date": store.now(),
            "path": str(folder),
        }

    def _kept(self, result: Kept) -> Kept:
        store.save(result)
        self.reporter.artifact("file", f"{result.benchmark}: {result.score:.3f}", Path(result.path))
        if result.rejected:
            self.reporter.warning(
                f"{len(result.rejected)} answers have no score; they are left out and counted.",
                f"See them in {result.path}.",
            )
        return result
