"""Outcomes of jobs: final state, cause, cancellation, resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import Conflict
from ilab_jupyter.jobs.attempt.process import Identity, with_token
from ilab_jupyter.jobs.state import JobState
from tests.support.waiting import until


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("exit 0", "without a result"),
        ('echo "$0: No module named ilab_jupyter" >&2; exit 1', "python cannot run this job"),
    ],
)
def test_interpreter_without_engine_fails_with_its_name(
    harness: Any, tmp_path: Path, program: str, said: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{program}\n")
    python.chmod(0o755)
    harness.local._python = str(python)
    job = harness.end(harness.submit().id)
    assert job.state is JobState.FAILED and said in job.message and "worker_python" in job.hint


def test_result_followed_by_crash_is_a_failure(harness: Any) -> None:
    job = harness.end(harness.submit(["event", "result", {"result": {"a": 1}}], ["die", signal.SIGSEGV]).id)
    assert (job.state, job.exit_code, job.cause, job.result) == (JobState.FAILED, -11, "crashed", {})
    assert "SIGSEGV" in job.message


def test_missing_worker_module_fails_with_traceback_in_log(
    harness: Any, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness.local, "_module", "no_such_module")
    job = harness.end(harness.submit(["print"]).id)
    assert job.state is JobState.FAILED and "no_such_module" in harness.log(job.id)


def test_interpreter_removed_before_start_fails_the_job(harness: Any, state: Path, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    harness.local.configure(slots={"batch": 0})
    job = type(harness)(state, worker_python=str(python)).submit(["print"])
    python.unlink()
    harness.local.configure(slots={"batch": 1})
    harness.local.turn()
    ended = harness.end(job.id)
    assert (ended.state, ended.cause) == (JobState.FAILED, "worker_failed")
    assert "No such file" in ended.message and "worker_python" in ended.hint


def test_cancelled_worker_may_save_first(harness: Any, tmp_path: Path) -> None:
    job = harness.submit(["save_on_term", str(tmp_path / "saved")], ["print", "ready"], ["sleep", 60])
    until_logged(harness, job.id, "ready")
    stopping = harness.jobs.cancel(job.id)
    assert stopping.state in (JobState.STOPPING, JobState.CANCELLED)
    ended = harness.end(job.id)
    assert (ended.state, ended.cause, ended.exit_code) == (JobState.CANCELLED, "cancelled", 143)
    assert (tmp_path / "saved").read_text() == "saved"
    again = harness.jobs.cancel(job.id)
    assert again == ended, "cancelling an ended job changes nothing"


def test_cancelled_job_that_finishes_has_succeeded(harness: Any, tmp_path: Path) -> None:
    job = harness.submit(["ignore_term"], ["print", "ready"], ["wait_for", str(tmp_path / "go")])
    until_logged(harness, job.id, "ready")
    harness.jobs.cancel(job.id)
    (tmp_path / "go").touch()
    assert harness.end(job.id).state is JobState.SUCCEEDED


def test_job_cancelled_while_starting_does_no_work(harness: Any, tmp_path: Path) -> None:
    for number in range(5):
        job = harness.submit(["sleep", 60], ["write", str(tmp_path / "done"), "x"])
        time.sleep(0.06 * number)
        harness.jobs.cancel(job.id)
        assert harness.end(job.id).state is JobState.CANCELLED
    assert not (tmp_path / "done").exists()


def test_no_process_of_a_worker_survives_its_end(harness: Any, tmp_path: Path) -> None:
    child, daemon = tmp_path / "child", tmp_path / "daemon"
    job = harness.submit(["daemon", str(daemon)], ["child", str(child)], ["wait_for", str(child)])
    assert harness.end(job.id).state is JobState.SUCCEEDED
    for file in (child, daemon):
        assert Identity.of(int(file.read_text())) is None


def test_job_submitted_by_a_job_survives_it(
    harness: Any, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested = tmp_path / "nested_worker.py"
    nested.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from ilab_jupyter.jobs.local import LocalJobs\nfrom ilab_jupyter.jobs.record import JobSpec\n"
        "from ilab_jupyter.jobs.sync import SyncJobs\n"
        f"jobs = SyncJobs(LocalJobs(Path({str(state)!r}), worker_module='scripted'))\n"
        "do = [['sleep', 1.5], ['print', 'done']]\n"
        "spec = JobSpec(kind='generate', queue='serving', arguments={'do': do})\n"
        "print(jobs.submit(spec).id)\n"
        "from ilab_jupyter.jobs.logs.events import EventWriter\n"
        "EventWriter(Path(sys.argv[1]) / 'events.jsonl', attempt=1).write('result', result={})\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    harness.local._module = "nested_worker"
    outer = harness.end(harness.submit().id)
    assert outer.state is JobState.SUCCEEDED
    inner = harness.end(harness.log(outer.id).strip())
    assert inner.state is JobState.SUCCEEDED and inner.ended_at > outer.ended_at
    assert harness.log(inner.id) == "done\n"


# Resume.


def test_resume_creates_new_attempt_with_separate_log(harness: Any) -> None:
    job = harness.submit(
        [["print", "first"], ["event", "phase", {"name": "training"}], ["exit", 1]],
        [["print", "second"], ["event", "result", {"result": {"ok": True}}]],
    )
    first = harness.end(job.id)
    assert first.state is JobState.FAILED and first.progress.phase == "training"
    resumed = harness.jobs.resume(job.id)
    assert (resumed.id, resumed.attempt) == (job.id, 2) and resumed.version > first.version
    assert resumed.cause is None and resumed.ended_at is None and resumed.progress.phase == ""
    ended = harness.end(job.id)
    assert ended.state is JobState.SUCCEEDED and ended.result == {"ok": True}
    assert (
        harness.jobs.logs(job.id, attempt=1).text == "first\n"
        and harness.jobs.logs(job.id).text == "second\n"
    )
    assert [event.seq for event in harness.jobs.events(job.id)] == [1, 2]
    assert [(row.n, row.state) for row in harness.local._store.attempts(job.id)] == [
        (1, JobState.FAILED),
        (2, JobState.SUCCEEDED),
    ]


def test_live_or_succeeded_job_cannot_be_resumed(harness: Any, tmp_path: Path) -> None:
    job = harness.submit(["wait_for", str(tmp_path / "go")])
    with pytest.raises(Conflict):
        harness.jobs.resume(job.id)
    (tmp_path / "go").touch()
    harness.end(job.id)
    with pytest.raises(Conflict, match="succeeded"):
        harness.jobs.resume(job.id)


def test_cancelled_job_can_be_resumed(harness: Any) -> None:
    job = harness.submit([["sleep", 60]], [["print", "on"]])
    harness.reach(job.id, JobState.RUNNING)
    harness.jobs.cancel(job.id)
    ended = harness.end(job.id)
    assert (ended.state, ended.cause, ended.exit_code) == (JobState.CANCELLED, "cancelled", -signal.SIGTERM)
    assert ended.remedy == f"resume {job.id}"
    assert harness.jobs.resume(job.id).attempt == 2
    assert harness.end(job.id).state is JobState.SUCCEEDED


def test_resume_kills_remaining_processes_of_last_attempt(harness: Any, tmp_path: Path) -> None:
    """A process that survived attempt 1 must not run beside attempt 2."""
    job = harness.submit([["exit", 1]], [["print", "on"]])
    harness.end(job.id)
    token = harness.local._store.get(job.id).token
    left = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env={**os.environ, "ILAB_JOB_TOKEN": token}
    )
    try:
        time.sleep(0.2)
        assert with_token(token) == [left.pid]
        # It is our child and stays a zombie until we wait for it, which counts as dead.
        harness.jobs.resume(job.id)
        assert left.wait(timeout=5) == -signal.SIGKILL
        assert harness.end(job.id).state is JobState.SUCCEEDED
    finally:
        left.kill()


def until_logged(harness: Any, id: str, text: str) -> None:
    until(lambda: text in harness.log(id), what=f"{text!r} in the log")
