"""DK-Bench: user-provided questions with reference answers, judged by the rubric of instructlab-eval."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ilab_jupyter import engine
from ilab_jupyter.errors import NotFound, Unprocessable
from ilab_jupyter.evaluation.answers import of_model
from ilab_jupyter.evaluation.endpoint import Connection, Endpoint
from ilab_jupyter.evaluation.hosting import hosted, judging, named, ready
from ilab_jupyter.evaluation.isolation import unchanged
from ilab_jupyter.evaluation.mt_bench import Parameters
from ilab_jupyter.evaluation.results import QuestionScore, Rejected
from ilab_jupyter.progress import Stopped
from ilab_jupyter.registry import jsonl

if TYPE_CHECKING:
    from openai import OpenAI

SCALE = (1.0, 5.0)


@dataclass(frozen=True)
class Row:
    """A row of the questions file; `number` is its line number, from 1."""

    number: int
    user_input: str
    reference: str
    response: str | None


@dataclass(frozen=True)
class Scored:
    """The scores of a run."""

    judge: str
    questions: tuple[QuestionScore, ...]
    rejected: tuple[Rejected, ...]
    score: float


def read(file: Path) -> list[Row]:
    """Return the rows of a questions file.

    Raises NotFound if there is no file, Unprocessable, with the row number, if a row is invalid.
    """
    if not file.is_file():
        raise NotFound(
            f"There is no file {str(file)[:200]!r}.", "Give a JSONL file of questions.", cause="data_missing"
        )
    rows = []
    with file.open("rb") as stream:
        for number, line in jsonl.lines(stream):
            if line is not None and not line.strip():
                continue
            try:
                row = jsonl.parse(line) if line is not None else None
            except jsonl.BadLine as error:
                raise _wrong(file, number, str(error)) from None
            if not isinstance(row, dict):
                raise _wrong(file, number, "it is no JSON object of at most 8 MiB")
            for name in ("user_input", "reference"):
                if not isinstance(row.get(name), str) or not row[name].strip():
                    raise _wrong(file, number, f"`{name}` is missing or no text")
            response = row.get("response")
            if response is not None and not isinstance(response, str):
                raise _wrong(file, number, "`response` is no text")
            rows.append(Row(number, row["user_input"], row["reference"], response))
    if not rows:
        raise Unprocessable(f"{file.name} is empty.", "Each line needs user_input and reference.")
    return rows


def run(parameters: Parameters, rows: Sequence[Row], folder: Path) -> Scored:
    """Generate the missing responses, have the judge score all of them, and return the scores.

    Responses and scores are written to `folder`. Raises TeacherError if the judge fails, Unprocessable if no
    answer has a score, Stopped on request.
    """
    engine.require("DK-Bench", "instructlab.eval", "ragas", "openai", extra="evaluate")
    reporter = parameters.reporter
    reporter.phase("preparing", "the judge")
    chosen = ready(parameters.judge, parameters.models, reporter)
    responses = [row.response for row in rows]
    open_rows = [position for position, response in enumerate(responses) if response is None]
    if open_rows:
        reporter.phase("loading", "the model")
        with hosted(
            parameters.model,
            name="student",
            max_tokens=parameters.max_tokens,
            device=parameters.device,
            reporter=reporter,
        ) as student:
            reporter.phase("answering", f"{len(open_rows)} questions")
            given = _answers(student, parameters, [rows[position].user_input for position in open_rows])
        for position, response in zip(open_rows, given, strict=True):
            responses[position] = response
    with judging(chosen, device=parameters.device, reporter=reporter) as judge:
        reporter.phase("judging", f"{len(rows)} answers, by {judge.model}")
        said = _judgments(judge, named(chosen), parameters, rows, responses)
    return _scored(judge.model, rows, responses, said, folder)


def _answers(student: Endpoint, parameters: Parameters, questions: Sequence[str]) -> list[str | None]:
    with unchanged():
        from instructlab.eval.ragas import ModelConfig  # type: ignore[import-untyped]

    system = parameters.system_prompt
    if system is None:
        system = ModelConfig(model_name=student.model).system_prompt
    connection = Connection(
        student,
        "student",
        parameters.reporter,
        len(questions),
        answers=parameters.answers,
        who=of_model(parameters.model),
    )

    def answer(question: str) -> str | None:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        return _chat(client, student.model, messages, parameters.max_tokens, parameters.temperature)

    with _openai(connection, student) as client, ThreadPoolExecutor(parameters.max_workers) as pool:
        found = list(pool.map(answer, questions))
    _check(parameters, connection)
    return found


def _judgments(
    judge: Endpoint, who: str, parameters: Parameters, rows: Sequence[Row], responses: Sequence[str | None]
) -> list[float | str]:
    """Return each row's score, or the reason for its absence. `who` is the judge's key in `answers`."""
    # ragas sends usage statistics unless that is disabled.
    os.environ["RAGAS_DO_NOT_TRACK"] = "true"
    with unchanged():
        from instructlab.eval.ragas import SCORING_RUBRICS
        from ragas.dataset_schema import SingleTurnSample  # type: ignore[import-untyped]
        from ragas.metrics._domain_specific_rubrics import RubricsScore  # type: ignore[import-untyped]

    connection = Connection(
        judge, "judge", parameters.reporter, len(rows), answers=parameters.answers, who=who
    )

    def judged(pair: tuple[Row, str | None]) -> float | str:
        row, response = pair
        if response is None:
            return "the model gave no answer"
        metric = RubricsScore(rubrics=SCORING_RUBRICS, llm=_judge_model(client, judge.model))
        sample = SingleTurnSample(user_input=row.user_input, response=response, reference=row.reference)
        try:
            score = float(asyncio.run(metric.single_turn_ascore(sample)))
        except Exception as error:
            # Parsing a judge's reply can fail in any way; the row is reported as rejected.
            return f"the judge gave no score from 1 to 5: {type(error).__name__}"
        return score if SCALE[0] <= score <= SCALE[1] else f"the judge gave {score:g}, not 1 to 5"

    with _openai(connection, judge) as client, ThreadPoolExecutor(parameters.max_workers) as pool:
        found = list(pool.map(judged, zip(rows, responses, strict=True)))
    _check(parameters, connection)
    return found


def _judge_model(client: OpenAI, model: str) -> Any:
    """Return the judge as an LLM for ragas."""
    with unchanged():
        from langchain_core.outputs import Generation, LLMResult
        from ragas.llms.base import BaseRagasLLM  # type: ignore[import-untyped]

    class Judge(BaseRagasLLM):  # type: ignore[misc]
        def generate_text(self, prompt: Any, n: int = 1, *_: Any, **__: Any) -> LLMResult:
            text = _chat(client, model, [{"role": "user", "content": prompt.to_string()}], 2048)
            return LLMResult(generations=[[Generation(text=text or "")] * n])

        async def agenerate_text(self, prompt: Any, n: int = 1, *_: Any, **__: Any) -> LLMResult:
            return self.generate_text(prompt, n)

        def is_finished(self, response: LLMResult) -> bool:
            return True

    return Judge()


def _chat(client: OpenAI, model: str, messages: Any, max_tokens: int, temperature: float = 0.0) -> str | None:
    """Return the answer, or None on failure; `Connection.check` raises the cause."""
    import openai

    try:
        answer = client.chat.completions.create(
            model=model, messages=messages, max_tokens=max_tokens, temperature=temperature
        )
    except openai.OpenAIError:
        return None
    return answer.choices[0].message.content if answer.choices else None


def _openai(connection: Connection, endpoint: Endpoint) -> OpenAI:
    from openai import OpenAI

    # The connection adds the key.
    return OpenAI(base_url=endpoint.url, api_key="none", http_client=connection.client(), max_retries=0)


def _check(parameters: Parameters, connection: Connection) -> None:
    if parameters.reporter.stopping:
        raise Stopped("The evaluation was stopped on request.")
    connection.check()


def _scored(
    judge: str,
    rows: Sequence[Row],
    responses: Sequence[str | None],
    said: Sequence[float | str],
    folder: Path,
) -> Scored:
    questions, rejected = [], []
    with (folder / "judgments.jsonl").open("w", encoding="utf-8") as stream:
        for row, response, score in zip(rows, responses, said, strict=True):
            id, text = f"row {row.number}", row.user_input[:200]
            kept = {"row": row.number, "user_input": row.user_input, "reference": row.reference}
            kept |= {"response": response, "score" if isinstance(score, float) else "rejected": score}
            stream.write(json.dumps(kept, ensure_ascii=False) + "\n")
            if isinstance(score, float):
                questions.append(
                    QuestionScore(id=id, group="questions", score=score, turns=(score,), text=text)
                )
            else:
                rejected.append(Rejected(id=id, turn=1, reason=score))
    if not questions:
        raise Unprocessable(
            f"Not one answer has a score: {rejected[0].reason}.", "Choose a judge that follows instructions."
        )
    return Scored(judge, tuple(questions), tuple(rejected), fmean(q.score for q in questions))


def _wrong(file: Path, number: int, what: str) -> Unprocessable:
    return Unprocessable(
        f"{file.name}, row {number}: {what}.",
        'Correct the row; it looks like {"user_input": "...", "reference": "..."}.',
    )
