"""DK-Bench: own questions, the model's answers or given ones, and a judge with a rubric."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.core import Model
from ilab_jupyter.errors import InvalidInput, NotFound, TeacherError, Unprocessable
from ilab_jupyter.evaluation.isolation import unchanged
from tests.evaluation.test_choice import mmlu

__all__ = ["mmlu"]

QUESTIONS = [
    {"user_input": "Who mends the nets?", "reference": "Maren."},
    {"user_input": "Which door is green?", "reference": "The baker's.", "response": "The red one."},
    {"user_input": "How deep is the well?", "reference": "Nine ropes.", "response": "Nine ropes."},
]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    return file


def scored(score: Any) -> str:
    return json.dumps({"feedback": "As it is.", "score": score})


def test_missing_answers_are_generated_and_all_are_judged(
    student: Path, questions: Path, judge_server: Any
) -> None:
    judge = judge_server(lambda prompt: scored(5 if '"response": "Nine ropes."' in prompt else 2))
    result = Model(student).evaluate_dk_bench(
        judge=judge.url, input_questions=questions, max_tokens=4, device="cpu"
    )
    assert [question.score for question in result.questions] == [2, 2, 5]
    assert (result.score, result.scale, result.error_rate) == (3, (1, 5), 0)
    kept = [json.loads(line) for line in (Path(result.path) / "judgments.jsonl").open()]
    assert [row["response"] for row in kept][1:] == ["The red one.", "Nine ropes."]
    assert "The response is fully accurate" in judge.requests[0]["messages"][0]["content"]


def test_the_configuration_says_what_a_call_leaves_out(
    student: Path, questions: Path, judge_server: Any, tmp_path: Path
) -> None:
    judge = judge_server(lambda prompt: scored(3))
    section = {
        "dk_bench": {"input_questions": str(questions), "output_dir": str(tmp_path / "results")},
        "system_prompt": "Speak as a ferryman would.",
    }
    model = Model(student, configuration={"evaluate": section})

    def answer(**arguments: Any) -> str:
        result = model.evaluate_dk_bench(judge=judge.url, max_tokens=16, device="cpu", **arguments)
        assert Path(result.path).is_relative_to(tmp_path / "results")
        return str(
            json.loads((Path(result.path) / "judgments.jsonl").read_text().splitlines()[0])["response"]
        )

    configured = answer()
    assert configured == answer(system_prompt="Speak as a ferryman would.", temperature=0)
    assert configured != answer(system_prompt="")
    with pytest.raises(InvalidInput, match="temperature"):
        answer(temperature=2)
    with pytest.raises(InvalidInput, match="input_questions"):
        Model(student).evaluate_dk_bench(judge=judge.url)
    with pytest.raises(InvalidInput, match="benchmark"):
        model.evaluate({"benchmark": ["dk_bench"]})


def test_what_is_no_score_is_kept_apart_and_counted(
    student: Path, questions: Path, judge_server: Any, recorder: Any
) -> None:
    judge = judge_server(
        lambda prompt: scored(4) if "red one" in prompt else "no idea" if "Nine" in prompt else scored(17)
    )
    reporter = recorder()
    result = Model(student).evaluate_dk_bench(
        judge=judge.url, input_questions=questions, max_tokens=4, device="cpu", reporter=reporter
    )
    assert result.score == 4 and [row.id for row in result.rejected] == ["row 1", "row 3"]
    assert result.error_rate == pytest.approx(2 / 3)
    judge = judge_server(lambda prompt: 403)
    with pytest.raises(TeacherError, match="refuses the key"):
        Model(student).evaluate_dk_bench(
            judge=judge.url, input_questions=questions, max_tokens=4, device="cpu"
        )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("{", "row 1"),
        ("[1]\n", "row 1"),
        ('{"user_input": "Why?"}\n', "`reference` is missing"),
        ('{"user_input": " ", "reference": "x"}\n', "`user_input` is missing"),
        ('{"user_input": "Why?", "reference": "x", "response": 5}\n', "`response` is no text"),
        ('{"user_input": "\udcff", "reference": "x"}\n', "row 1: not UTF-8"),
    ],
)
def test_wrong_row_is_reported_before_first_request(
    student: Path, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "wrong.jsonl"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(Unprocessable, match=said):
        Model(student).evaluate_dk_bench(judge="http://127.0.0.1:1/v1", input_questions=file)
    with pytest.raises(NotFound):
        Model(student).evaluate_dk_bench(judge="http://127.0.0.1:1/v1", input_questions=tmp_path / "none")


def test_the_process_that_evaluates_is_left_as_it_was(student: Path, mmlu: Path, tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps(QUESTIONS[2]) + "\n")
    code = f"""
import asyncio, os
from ilab_jupyter.core import Model
from tests.evaluation.conftest import JudgeServer
judge = JudgeServer(lambda prompt: '{scored(3)}')
run, before = asyncio.run, dict(os.environ)
model = Model({str(student)!r})
dk = model.evaluate_dk_bench(judge=judge.url, input_questions={str(questions)!r}, device="cpu")
model.evaluate_mmlu_bench(data={str(mmlu)!r}, tasks=["anatomy"], few_shots=0, device="cpu")
kept = os.environ.get("TOKENIZERS_PARALLELISM") == before.get("TOKENIZERS_PARALLELISM")
print(dk.score, asyncio.run is run, kept)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, cwd=root)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "3.0 True True"


def test_guests_in_several_threads_leave_everything_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    import nest_asyncio  # type: ignore[import-untyped]

    monkeypatch.setenv("ILAB_KEPT", "before")
    apply = nest_asyncio.apply

    def visit(number: int) -> None:
        with unchanged():
            os.environ["ILAB_KEPT"] = str(number)
            os.environ["ILAB_LEFT"] = str(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(visit, range(2000)))
    assert nest_asyncio.apply is apply
    assert os.environ["ILAB_KEPT"] == "before" and "ILAB_LEFT" not in os.environ
