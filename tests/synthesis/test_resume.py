"""A generation that ends early loses nothing: the next attempt asks only for the answers that are missing."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.core import Data
from ilab_jupyter.core.data import GenerateResult
from ilab_jupyter.errors import Conflict, TeacherError, Unprocessable
from ilab_jupyter.progress import Stopped
from ilab_jupyter.synthesis.journal import Journal
from ilab_jupyter.synthesis.teachers import Answer, Spent

pytestmark = pytest.mark.slow

SAMPLES = 2 * 6  # leaves, seeds
SKILL_ANSWERS = SAMPLES * 3  # scale


def data_for(taxonomy: Path, tmp_path: Path, url: str, **more: Any) -> Data:
    teacher = {"kind": "openai", "url": url, "max_retries": 0, "timeout": 20}
    arguments = {
        "scale": 3,
        "batch_size": 2,
        "num_workers": 2,
        "output_dir": tmp_path / "out",
        "name": "mine",
        **more,
    }
    return Data(taxonomy, teacher=teacher, **arguments)


def prompts_of(server: Any) -> list[str]:
    """Every prompt that the server was asked, a single one too."""
    asked = [body["prompt"] for _, body in server.requests]
    return [prompt for group in asked for prompt in (group if isinstance(group, list) else [group])]


def test_death_of_teacher_loses_no_answer(
    teacher_server: Any, skills_only: Path, tmp_path: Path, recorder: Any
) -> None:
    server = teacher_server("lists", lambda number, body: (0, {}, b"") if number > 3 else None)
    data = data_for(skills_only, tmp_path, server.url)
    with pytest.raises(TeacherError) as caught:
        data.generate_data(run_dir=tmp_path / "run", reporter=recorder())
    assert caught.value.cause == "teacher_unreachable"
    given = server.answers
    assert 0 < given < SKILL_ANSWERS
    assert not any((tmp_path / "out").iterdir())
    # the first failure ends the rows that wait, they are not all tried
    assert len(server.requests) <= 3 + 2

    server.script = None
    server.requests.clear()
    reporter = recorder()
    result = data.generate_data(run_dir=tmp_path / "run", resume=True, reporter=reporter)
    assert server.answers == SKILL_ANSWERS
    prompts = Counter(prompts_of(server))
    assert set(prompts.values()) == {1}
    assert len(prompts) == (SKILL_ANSWERS - given) // 3
    assert result.rows == SKILL_ANSWERS
    assert reporter.steps[-1][:2] == (SAMPLES, SAMPLES)


def rows_in(folder: Path) -> dict[str, list[str]]:
    """The rows of each file of a dataset, by its name without the run's date."""
    date = next(folder.glob("messages_*.jsonl")).stem.removeprefix("messages_")
    return {
        path.relative_to(folder).as_posix().replace(date, ""): path.read_text(encoding="utf-8").splitlines()
        for path in folder.rglob("*.jsonl")
    }


def test_killed_worker_is_continued_by_next(
    teacher_server: Any, skills_only: Path, tmp_path: Path, recorder: Any
) -> None:
    """With ILAB_FAULTS=full twenty times in the course of one generation."""
    kills, workers = 20 if os.environ.get("ILAB_FAULTS") == "full" else 1, 4
    shutil.rmtree(skills_only / "compositional_skills" / "grounded")
    server = teacher_server("lists")
    arguments = {"pipeline": "full", "batch_size": 2, "num_workers": workers}
    data = data_for(skills_only, tmp_path, server.url, **arguments)
    whole = data_for(skills_only, tmp_path, server.url, **arguments, name="whole").generate_data(
        run_dir=tmp_path / "whole-run", reporter=recorder()
    )
    asked = len(server.requests)
    assert asked > 100

    server.requests.clear()
    script = (
        "import json, sys\n"
        "from ilab_jupyter.core import Data\n"
        "Data.from_spec(json.loads(sys.argv[1])).generate_data(run_dir=sys.argv[2], resume=True)\n"
    )
    chance = random.Random(7)
    for _ in range(kills):
        last = len(server.requests) + chance.randint(1, asked // (kills + 1))
        reached = threading.Event()

        def watch(number: int, body: dict[str, Any], last: int = last, reached: Any = reached) -> None:
            if number >= last:
                reached.set()

        server.script = watch
        worker = subprocess.Popen(
            [sys.executable, "-c", script, data.settings.model_dump_json(), str(tmp_path / "run")],
            env=os.environ,
            stderr=subprocess.DEVNULL,
        )
        assert reached.wait(120)
        time.sleep(chance.random() / 50)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    with (tmp_path / "run" / "answers.jsonl").open("ab") as answers:
        answers.write(b'{"k": "cut sho')

    server.script = None
    data.generate_data(run_dir=tmp_path / "run", resume=True, reporter=recorder())
    assert rows_in(tmp_path / "out" / "mine") == rows_in(Path(whole.path))
    assert asked <= len(server.requests) <= asked + kills * workers, "only what was in flight is asked again"


def test_stop_and_resume_give_same_rows(sample: Path, tmp_path: Path, recorder: Any) -> None:
    def rows(result: GenerateResult) -> list[str]:
        return Path(result.files["skills"]).read_text().splitlines()

    data = Data(
        sample / "compositional_skills/writing/packing_reminders/qna.yaml",
        scale=4,
        output_dir=tmp_path,
        name="a",
    )
    with pytest.raises(Stopped):
        data.generate_data(run_dir=tmp_path / "run", reporter=recorder(stop_after=1))
    assert not (tmp_path / "a").exists()
    stopped = data.generate_data(run_dir=tmp_path / "run", resume=True, reporter=recorder())
    whole = Data(**{**data.settings.model_dump(), "name": "b"}).generate_data(
        run_dir=tmp_path / "run-b", reporter=recorder()
    )
    assert rows(stopped) == rows(whole)


def test_only_changed_leaf_is_repeated(
    teacher_server: Any, skills_only: Path, tmp_path: Path, recorder: Any
) -> None:
    server = teacher_server("lists", lambda number, body: (0, {}, b"") if number > 5 else None)
    data = data_for(skills_only, tmp_path, server.url, num_workers=1)
    with pytest.raises(TeacherError):
        data.generate_data(run_dir=tmp_path / "run", reporter=recorder())
    leaf = skills_only / "compositional_skills/grounded/notices/times/qna.yaml"
    leaf.write_text(
        leaf.read_text().replace("When does choir practice start?", "At what hour does choir practice begin?")
    )
    server.script = None
    server.requests.clear()
    result = data.generate_data(run_dir=tmp_path / "run", resume=True, reporter=recorder())
    prompts = prompts_of(server)
    assert any("At what hour does choir practice begin?" in prompt for prompt in prompts)
    assert not any("When does the blue bus reach the lake?" in prompt for prompt in prompts)
    assert "When does choir practice start?" not in Path(result.files["messages"]).read_text()


def test_a_finished_run_is_not_done_again(skills_only: Path, tmp_path: Path, recorder: Any) -> None:
    data = Data(skills_only, scale=1, output_dir=tmp_path, name="once")
    first = data.generate_data(run_dir=tmp_path / "run", reporter=recorder())
    reporter = recorder()
    assert data.generate_data(run_dir=tmp_path / "run", resume=True, reporter=reporter) == first
    assert reporter.phases == ["validating"]


def test_used_name_conflicts_before_any_work(skills_only: Path, tmp_path: Path, recorder: Any) -> None:
    (tmp_path / "taken").mkdir()
    reporter = recorder()
    with pytest.raises(Conflict, match="taken"):
        Data(skills_only, output_dir=tmp_path, name="taken").generate_data(
            run_dir=tmp_path / "run", reporter=reporter
        )
    assert reporter.phases == ["validating"]


def test_unusable_answers_are_counted_and_no_rows_fail(
    teacher_server: Any, skills_only: Path, tmp_path: Path, recorder: Any
) -> None:
    def mumble(number: int, body: dict[str, Any]) -> Any:
        texts = ["", "I would rather not.", "What?\u2028It is this."]
        choices = [{"index": i, "text": texts[i % 3], "finish_reason": "stop"} for i in range(body["n"])]
        return 200, {}, json.dumps({"id": "x", "object": "text_completion", "choices": choices}).encode()

    server = teacher_server("lists", mumble)
    result = data_for(skills_only, tmp_path, server.url).generate_data(
        run_dir=tmp_path / "run", reporter=recorder()
    )
    assert result.rejected["empty"] > 0 and result.rejected["no_question"] > 0
    assert result.rows > 0
    for line in Path(result.files["messages"]).read_text().splitlines():
        turns = {turn["role"]: turn["content"] for turn in json.loads(line)["messages"]}
        assert turns == {"user": "What?", "assistant": "It is this."}

    server.script = lambda number, body: (
        200,
        {},
        json.dumps({"choices": [{"index": i, "text": ""} for i in range(body["n"])]}).encode(),
    )
    silent = data_for(skills_only, tmp_path, server.url, name="silent")
    with pytest.raises(Unprocessable) as caught:
        silent.generate_data(run_dir=tmp_path / "silent-run", reporter=recorder())
    assert caught.value.cause == "no_rows"
    assert not (tmp_path / "out" / "silent").exists()


def test_any_object_with_openais_completions_can_be_the_teacher(
    teacher_server: Any, skills_only: Path, tmp_path: Path, recorder: Any
) -> None:
    import openai

    server = teacher_server("lists")
    client = openai.OpenAI(base_url=server.url, api_key="none")
    result = Data(skills_only, scale=1, output_dir=tmp_path, name="sdk").generate_data(
        client, run_dir=tmp_path / "run", reporter=recorder()
    )
    assert result.rows == 12
    assert result.teacher["model"] == "tutor"
    assert result.teacher["extractive"] is False


def test_journal_drops_torn_end_and_keeps_first_answer(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with Journal(path) as journal:
        journal.add("a", {0: Answer("first")}, Spent(3, 1))
        journal.add("a", {0: Answer("second")})
        journal.add("b", {1: Answer("caf\u00e9", cut=True)}, Spent(2, 1, counted=False))
    with path.open("ab") as torn:
        torn.write(b'{"k": "c", "i": 0, "t": "lo')
    with Journal(path) as journal:
        assert journal.get("a", 0) == Answer("first")
        assert journal.get("b", 1) == Answer("caf\u00e9", cut=True)
        assert journal.get("c", 0) is None
        assert journal.spent == Spent(5, 2, counted=False)
        journal.add("c", {0: Answer("long")})
    with Journal(path) as journal:
        assert journal.get("a", 0) == Answer("first") and journal.get("c", 0) == Answer("long")
