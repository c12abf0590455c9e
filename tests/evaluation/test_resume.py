"""An evaluation that was stopped or killed: the next attempt asks only for what is missing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.core import Model
from ilab_jupyter.errors import InvalidInput, TeacherError, Unavailable
from ilab_jupyter.evaluation import store
from ilab_jupyter.jobs.attempt.process import with_token
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.kinds import catalog
from ilab_jupyter.progress import Stopped

FEW: dict[str, Any] = {"benchmark": "mt_bench", "questions": 4, "max_tokens": 4, "device": "cpu"}


def prompts(judge: Any) -> Counter[str]:
    return Counter(json.dumps(request, sort_keys=True) for request in judge.requests)


def answers(path: str) -> dict[str, Any]:
    file = Path(path) / "mt_bench/model_answer/student.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {str(row["question_id"]): row["choices"][0]["turns"] for row in rows}


def test_answers_and_verdicts_are_reused(
    student: Path, judge_server: Any, recorder: Any, tmp_path: Path
) -> None:
    judge, journal = judge_server(lambda prompt: "[[7]]"), tmp_path / "answers.jsonl"
    settings = {**FEW, "judge": judge.url, "max_workers": 1}
    with pytest.raises(Stopped):
        Model(student).evaluate(settings, journal=journal, reporter=recorder("judging"))
    assert len(judge.requests) == 1
    (unfinished,) = (tmp_path / "home/.local/share/instructlab/evaluations").iterdir()
    before = answers(str(unfinished))
    reporter = recorder()
    result = Model(student).evaluate(settings, journal=journal, reporter=reporter)
    assert result.score == 7 and len(result.questions) == 4
    assert answers(result.path) == before
    assert set(prompts(judge).values()) == {1} and len(judge.requests) == 8
    assert (8, 8) in [step[:2] for step in reporter.steps]


def test_other_or_changed_model_repeats_all_questions(
    student: Path, other_student: Path, judge_server: Any, recorder: Any, tmp_path: Path
) -> None:
    judge, journal = judge_server(lambda prompt: "[[7]]"), tmp_path / "answers.jsonl"
    second = Path(shutil.copytree(other_student, tmp_path / "second"))
    kept = [0]

    def ask(model: Path) -> Any:
        result = Model(model).evaluate({**FEW, "judge": judge.url}, journal=journal, reporter=recorder())
        kept.append(len(journal.read_text().splitlines()))
        return answers(result.path)

    assert ask(student) == ask(student) and kept[1] == kept[2] == 16
    ask(second)
    assert kept[3] - kept[2] > 8, "the judge may have seen one of its answers before"
    (second / "config.json").touch()
    ask(second)
    assert kept[4] - kept[3] >= 8


def test_lost_judge_is_resumed_with_remaining_answers(
    student: Path, judge_server: Any, recorder: Any, tmp_path: Path
) -> None:
    gone = threading.Event()
    verdicts = iter(range(100))

    def verdict(prompt: str) -> str | int:
        if next(verdicts) == 3:
            gone.set()
        return 401 if gone.is_set() else "[[6]]"

    judge, journal = judge_server(verdict), tmp_path / "answers.jsonl"
    settings = {**FEW, "judge": judge.url, "max_workers": 1}
    with pytest.raises(TeacherError, match="refuses the key"):
        Model(student).evaluate(settings, journal=journal, reporter=recorder())
    assert len(judge.requests) == 4
    gone.clear()
    result = Model(student).evaluate(settings, journal=journal, reporter=recorder())
    assert result.score == 6 and not result.rejected
    assert len(judge.requests) == 4 + 5 and max(prompts(judge).values()) == 2


def test_custom_questions_are_not_repeated(
    student: Path, judge_server: Any, recorder: Any, tmp_path: Path
) -> None:
    file, journal = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    rows = [{"user_input": f"What is {n}?", "reference": f"It is {n}."} for n in range(4)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge = judge_server(lambda prompt: json.dumps({"feedback": "good", "score": 4}))
    settings = {
        **{"benchmark": "dk_bench", "judge": judge.url, "input_questions": str(file)},
        **{"max_tokens": 4, "device": "cpu", "max_workers": 1},
    }
    with pytest.raises(Stopped):
        Model(student).evaluate(settings, journal=journal, reporter=recorder("judging"))
    asked = len(judge.requests)
    assert asked < 4
    result = Model(student).evaluate(settings, journal=journal, reporter=recorder())
    assert result.score == 4 and len(judge.requests) == 4
    again = Model(student).evaluate(settings, journal=journal, reporter=recorder())
    assert len(judge.requests) == 4 and again.path != result.path
    assert Model.compare(result.path, again.path).difference == 0, "a result that is kept is never replaced"


def test_finished_subject_is_not_repeated(student: Path, recorder: Any, tmp_path: Path) -> None:
    data, journal = tmp_path / "mmlu", tmp_path / "answers.jsonl"
    for subject in ("anatomy", "virology"):
        (data / subject).mkdir(parents=True)
        rows = [{"question": f"{n}?", "choices": ["a", "b", "c", "d"], "answer": n % 4} for n in range(4)]
        (data / subject / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"benchmark": "mmlu", "data": str(data), "few_shots": 0, "device": "cpu"}
    whole = Model(student).evaluate(settings, reporter=recorder())
    with pytest.raises(Stopped):
        Model(student).evaluate(settings, journal=journal, reporter=recorder("answering"))
    reporter = recorder()
    result = Model(student).evaluate(settings, journal=journal, reporter=reporter)
    assert [event[2] for event in reporter.events if event[0] == "phase"] == [
        *("anatomy, as before", "virology")
    ]
    assert (result.score, result.questions) == (whole.score, whole.questions)
    test = data / "anatomy/test.jsonl"
    test.write_text(test.read_text().replace('"answer": 0', '"answer": 1'))
    reporter = recorder()
    Model(student).evaluate(settings, journal=journal, reporter=reporter)
    assert [event[2] for event in reporter.events if event[0] == "phase"] == [
        *("anatomy", "virology, as before")
    ]


def test_killed_job_resumes_and_ends_with_its_result(student: Path, judge_server: Any) -> None:
    reached, kill = threading.Event(), threading.Event()
    verdicts = iter(range(100))

    def verdict(prompt: str) -> str:
        if next(verdicts) == 5:
            reached.set()
            kill.wait(60)
        return "[[6]]"

    judge = judge_server(verdict)
    service = LocalJobs()
    jobs = SyncJobs(service)
    try:
        arguments = {**FEW, "model": str(student), "judge": judge.url, "max_workers": 1}
        id = jobs.submit(catalog.job_spec("evaluate", arguments)).id
        assert reached.wait(120), jobs.logs(id).text
        row = service._store.get(id)
        assert row is not None
        for pid in with_token(row.token):
            os.kill(pid, signal.SIGKILL)
        kill.set()
        for _ in jobs.watch(id):
            pass
        assert jobs.get(id).state is JobState.FAILED
        jobs.resume(id)
        for _ in jobs.watch(id):
            pass
        job = jobs.get(id)
        assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2), jobs.logs(id).text
        assert job.result["score"] == 6 and job.result["error_rate"] == 0
        assert "questions" not in job.result and len(store.load(Path(job.result["path"])).questions) == 4
        log = jobs.logs(id).text
        assert "judging" in log and "it/s]" not in log
        assert len(judge.requests) == 9 and max(prompts(judge).values()) == 2, "more than one was in flight"
    finally:
        service.close()


def test_file_that_is_not_journal_is_unchanged(student: Path, tmp_path: Path) -> None:
    file = tmp_path / "thesis.txt"
    file.write_text("years of work")
    with pytest.raises(InvalidInput, match="no journal"):
        Model(student).evaluate({**FEW, "judge": "http://127.0.0.1:1/v1"}, journal=file)
    assert file.read_text() == "years of work"
    with pytest.raises(Unavailable, match="cannot be written"):
        Model(student).evaluate({**FEW, "judge": "http://127.0.0.1:1/v1"}, journal=tmp_path)
