"""Guarantees of the job service to its clients."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import Conflict, InvalidInput, NotFound, Unavailable
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import JobFilter, JobSpec
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs, run


def test_submitted_job_runs_in_its_own_process(harness: Any) -> None:
    job = harness.submit(
        ["print", "hello"], ["event", "result", {"result": {"answer": 42}}], name="My first", priority=3
    )
    assert job.id.startswith("train-") and job.name == "My first" and job.attempt == 1
    ended = harness.end(job.id)
    assert ended.state is JobState.SUCCEEDED and ended.exit_code == 0 and ended.result == {"answer": 42}
    assert ended.cause is None and ended.spec.priority == 3
    assert ended.created_at <= ended.started_at <= ended.ended_at  # type: ignore[operator]
    assert abs(datetime.now(UTC) - ended.created_at) < timedelta(minutes=1)
    assert harness.log(job.id) == "hello\n"


def test_job_folder_is_private(harness: Any, state: Path) -> None:
    job = harness.submit(["print", "x"])
    folder = harness.local.folder(job.id)
    assert folder == state / "jobs" / job.id
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and stat.S_IMODE(state.stat().st_mode) == 0o700
    harness.end(job.id)
    assert stat.S_IMODE((folder / "attempts/1/log.txt").stat().st_mode) == 0o600


def test_list_pages_are_newest_first(harness: Any) -> None:
    harness.local.configure(slots={"batch": 0})
    ids = [harness.submit(["print"], name=f"n{number}").id for number in range(5)]
    seen, cursor = [], None
    while True:
        page = harness.jobs.list(limit=2, cursor=cursor)
        seen += [job.id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            break
        harness.submit(["print"], name="later")  # a newer job moves no older one to another page
    assert seen == ids[::-1]


@pytest.mark.parametrize("cursor", ["", "x", "MQ", "YmVmb3JlOi0x", "🙂", "YmVmb3JlOjAwMQ=="])
def test_invalid_cursor_is_refused(harness: Any, cursor: str) -> None:
    with pytest.raises(InvalidInput):
        harness.jobs.list(cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 501])
def test_a_limit_out_of_bounds_is_refused(harness: Any, limit: int) -> None:
    with pytest.raises(InvalidInput):
        harness.jobs.list(limit=limit)


def test_filter_requires_all_conditions(harness: Any) -> None:
    harness.local.configure(slots={"batch": 0})
    one = harness.submit(["print"], kind="generate", name="100% sure")
    two = harness.submit(["print"], kind="train", name="Nightly")
    harness.jobs.cancel(two.id)

    def found(**conditions: Any) -> list[str]:
        return [job.id for job in harness.jobs.list(JobFilter(**conditions)).jobs]

    assert found() == [two.id, one.id]
    assert found(kinds=("train",)) == [two.id]
    assert found(states=(JobState.QUEUED,)) == [one.id]
    assert found(text="nightLY") == [two.id] and found(text=two.id[-6:]) == [two.id]
    assert found(text="0% s") == [one.id] and found(text="%") == [one.id] and found(text="_") == []
    assert found(kinds=("train",), states=(JobState.QUEUED,)) == []


@pytest.mark.parametrize(
    "id", ["train-aaaaaaaa", "nonsense", "", "../../etc", "train-aaaaaaaa/..", "x" * 5000]
)
def test_unknown_id_is_not_found_by_any_method(harness: Any, id: str) -> None:
    for ask in (
        harness.jobs.get,
        harness.jobs.cancel,
        harness.jobs.resume,
        harness.jobs.logs,
        harness.jobs.events,
    ):
        with pytest.raises(NotFound):
            ask(id)
    with pytest.raises(NotFound):
        next(harness.jobs.watch(id))
    with pytest.raises(NotFound):
        harness.local.folder(id)


def test_another_owners_job_is_not_found(harness: Any, state: Path) -> None:
    job = harness.submit(["print", "x"])
    stranger = SyncJobs(LocalJobs(state, owner="stranger"))
    with pytest.raises(NotFound):
        stranger.get(job.id)
    with pytest.raises(NotFound):
        stranger.cancel(job.id)
    assert stranger.list().jobs == []


def test_key_returns_same_job_or_conflicts(harness: Any) -> None:
    job = harness.submit(["print", "x"], key="k")
    assert harness.submit(["print", "x"], key="k").id == job.id
    assert harness.end(job.id).state is JobState.SUCCEEDED
    assert harness.submit(["print", "x"], key="k").id == job.id
    with pytest.raises(Conflict):
        harness.submit(["print", "y"], key="k")
    with pytest.raises(InvalidInput):
        harness.submit(["print", "y"], key="")


def test_parallel_submissions_of_one_key_run_once(harness: Any, state: Path) -> None:
    mark = state / "mark"

    def submit(number: int) -> str:
        service = harness if number % 2 else other
        return service.submit(["write", str(mark), "x"], key="same").id

    other = type(harness)(state)
    with ThreadPoolExecutor(16) as pool:
        ids = set(pool.map(submit, range(50)))
    assert len(ids) == 1
    harness.end(ids.pop())
    assert mark.read_text() == "x" and len(list((state / "jobs").iterdir())) == 1


def test_two_owners_may_use_the_same_key(harness: Any, state: Path) -> None:
    other = type(harness)(state, owner="other")
    assert harness.submit(["print"], key="k").id != other.submit(["print"], key="k").id
    other.clean()


def test_nan_and_infinity_are_refused(harness: Any, state: Path) -> None:
    with pytest.raises(InvalidInput, match="not JSON"):
        harness.submit(["sleep", float("nan")])
    assert list((state / "jobs").iterdir()) == []


def test_invalid_interpreter_is_refused(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = SyncJobs(LocalJobs(state, worker_python={"train": "/no/such/python"}))
    with pytest.raises(Unavailable, match="/no/such/python"):
        jobs.submit(JobSpec(kind="train"))
    monkeypatch.setenv("ILAB_JUPYTER_WORKER_PYTHON", "relative/python")
    with pytest.raises(Unavailable, match="relative/python"):
        jobs.submit(JobSpec(kind="generate"))
    assert jobs.list().jobs == []


def test_blocking_form_works_inside_a_running_loop(harness: Any) -> None:
    async def cell() -> str:
        job = harness.submit(["print", "from a notebook"])
        for event in harness.jobs.watch(job.id):
            last = event.type
        return last

    assert asyncio.run(cell()) == "end"
    assert run(asyncio.sleep(0, "and outside")) == "and outside"


def test_interrupted_wait_does_not_stop_the_job(harness: Any, state: Path) -> None:
    code = """
import sys, pathlib
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.sync import SyncJobs
try:
    for event in SyncJobs(LocalJobs(pathlib.Path(sys.argv[1]))).watch(sys.argv[2]):
        print(event.type, flush=True)
except KeyboardInterrupt:
    print("interrupted")
"""
    job = harness.submit(["wait_for", str(state / "go")])
    harness.reach(job.id, JobState.RUNNING)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(state), job.id],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "state\n"
    process.send_signal(signal.SIGINT)
    said, complaints = process.communicate(timeout=20)
    assert (said, complaints, process.returncode) == ("interrupted\n", "", 0)
    assert harness.jobs.get(job.id).state is JobState.RUNNING


def test_unfinished_wait_does_not_keep_the_process_alive(harness: Any, state: Path) -> None:
    job = harness.submit(["wait_for", str(state / "go")])
    code = """
import sys, pathlib
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.sync import SyncJobs
stream = SyncJobs(LocalJobs(pathlib.Path(sys.argv[1]))).watch(sys.argv[2])
print(next(stream).type)
"""
    command = [sys.executable, "-c", code, str(state), job.id]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr, done.returncode) == ("state\n", "", 0)


def test_output_during_interpreter_shutdown_raises_no_error(harness: Any, state: Path) -> None:
    job = harness.submit(["wait_for", str(state / "go")])
    code = """
import gc, sys, pathlib, threading, time
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.sync import SyncJobs
local = LocalJobs(pathlib.Path(sys.argv[1]))
stream = SyncJobs(local).watch(sys.argv[2])
print(next(stream).type)
def linger():
    threading.main_thread().join()
    log = local.folder(sys.argv[2]) / "attempts/1/log.txt"
    for _ in range(10):
        with log.open("a") as file:
            file.write("one more line\\n")
        time.sleep(0.05)
        gc.collect()
threading.Thread(target=linger).start()
"""
    command = [sys.executable, "-c", code, str(state), job.id]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr, done.returncode) == ("state\n", "", 0)


def test_active_counts_jobs_that_have_not_ended(harness: Any, state: Path) -> None:
    assert harness.local.active() == 0
    first = harness.submit(["wait_for", str(state / "go")])
    second = harness.submit(["print"])
    assert harness.local.active() == 2
    (state / "go").touch()
    harness.end(first.id)
    harness.end(second.id)
    assert harness.local.active() == 0


def test_worker_environment_has_submitter_values_and_no_tokens(
    harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "hub-token")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    job = harness.submit(["show_env", "CUDA_VISIBLE_DEVICES", "JUPYTERHUB_API_TOKEN", "MPLBACKEND", "PATH"])
    assert harness.end(job.id).state is JobState.SUCCEEDED
    shown = json.loads(harness.log(job.id))
    assert shown["CUDA_VISIBLE_DEVICES"] == "7"
    assert shown["JUPYTERHUB_API_TOKEN"] is None and shown["MPLBACKEND"] is None
    assert shown["PATH"].split(os.pathsep)[0] == os.path.dirname(sys.executable)


def test_file_in_working_directory_does_not_shadow_library(
    harness: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert harness.end(harness.submit(["print", "x"]).id).state is JobState.SUCCEEDED


# Secrets.


def test_secrets_reach_the_worker_only(harness: Any, state: Path) -> None:
    value = "s3cret-value-of-the-teacher"
    job = harness.submit(
        *(["show_env", "ILAB_TEACHER_API_KEY"], ["wait_for", str(state / "go")]),
        secrets={"ILAB_TEACHER_API_KEY": value},
    )
    file = harness.local.folder(job.id) / "secrets.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    harness.reach(job.id, JobState.RUNNING)
    (state / "go").touch()
    ended = harness.end(job.id)
    log = harness.local.folder(job.id) / "attempts/1/log.txt"
    assert value in log.read_text()  # the worker itself printed it, so it received it
    assert value not in harness.log(job.id) + ended.model_dump_json() + harness.jobs.list().model_dump_json()
    deadline = time.monotonic() + 10
    while file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    holders = [path for path in state.rglob("*") if path.is_file() and value.encode() in path.read_bytes()]
    assert holders == [log], "a job that has succeeded keeps no secrets"


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "PATH",
        "HOME",
        "lower",
        "A B",
        "",
        "A=B",
        "ILAB_JOB_TOKEN",
        "1A",
    ],
)
def test_secret_names_that_load_code_are_refused(harness: Any, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        harness.submit(["print"], secrets={name: "the-value"})
    assert "the-value" not in str(refused.value)
    assert harness.jobs.list().jobs == []


def test_unpaired_surrogate_is_refused_in_arguments_and_secrets(harness: Any) -> None:
    with pytest.raises(InvalidInput, match="unpaired surrogate"):
        harness.submit(["print", "\ud800"])
    with pytest.raises(InvalidInput, match="is not a text"):
        harness.submit(["print"], secrets={"A_KEY": "\ud800"})


def test_a_secret_with_a_null_byte_is_refused(harness: Any) -> None:
    with pytest.raises(InvalidInput):
        harness.submit(["print"], secrets={"A_KEY": "a\0b"})
