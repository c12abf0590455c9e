"""The worker process: final event, exit code, reported events and environment."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import InvalidInput, TeacherError
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.logs.events import EventTail
from ilab_jupyter.jobs.record import JobSpec
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.kinds.catalog import job_spec
from ilab_jupyter.kinds.reporter import EventReporter
from ilab_jupyter.kinds.worker import explain
from ilab_jupyter.progress import Reporter
from tests.support.jobs import WORKER


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SyncJobs:
    monkeypatch.setenv("PYTHONPATH", str(WORKER))
    return SyncJobs(LocalJobs(tmp_path / "state", worker_module="code_worker"))


def ended(jobs: SyncJobs, code: str) -> Any:
    job = jobs.submit(JobSpec(kind="code", arguments={"code": code}))
    *_, end = jobs.watch(job.id)
    assert end.type == "end"
    return jobs.get(job.id)


def test_return_value_is_the_job_result(jobs: SyncJobs) -> None:
    job = ended(
        jobs,
        "reporter.phase('training', 'Epoch 1')\nreporter.progress(3, 3, loss=float('nan'))\n"
        "reporter.artifact('model', 'm', context.artifacts)\n"
        "result = {'attempt': context.attempt, 'id': context.job_id, 'there': context.artifacts.is_dir()}",
    )
    assert job.state is JobState.SUCCEEDED
    assert job.result == {"attempt": 1, "id": job.id, "there": True}
    assert (job.progress.phase, job.progress.step, job.progress.metrics) == ("training", 3, {"loss": None})
    kinds = [event.type for event in jobs.events(job.id)]
    assert kinds == ["phase", "progress", "artifact", "result"]


def test_public_error_is_one_log_line_without_traceback(jobs: SyncJobs) -> None:
    job = ended(
        jobs,
        "from ilab_jupyter.errors import TeacherError\n"
        "raise TeacherError('The teacher does not answer.', 'Start it.', cause='teacher_down')",
    )
    assert (job.state, job.exit_code, job.cause) == (JobState.FAILED, 1, "teacher_down")
    assert (job.message, job.hint) == ("The teacher does not answer.", "Start it.")
    assert jobs.logs(job.id).text == "teacher_down: The teacher does not answer. Start it.\n"


def test_unexpected_error_keeps_its_traceback_in_the_log(jobs: SyncJobs) -> None:
    job = ended(jobs, "raise ValueError('wrong shape')")
    assert (job.state, job.cause, job.message) == (JobState.FAILED, "crashed", "ValueError: wrong shape")
    assert "Traceback" in jobs.logs(job.id).text and "log" in job.hint


@pytest.mark.parametrize("leave", ["raise SystemExit(0)", "raise SystemExit", "import sys; sys.exit()"])
def test_exit_without_result_fails_the_job(jobs: SyncJobs, leave: str) -> None:
    assert ended(jobs, leave).state is JobState.FAILED


def test_cancelled_work_sees_the_stop_request(jobs: SyncJobs) -> None:
    code = (
        "import time\nfrom ilab_jupyter.progress import Stopped\nreporter.phase('waiting')\n"
        "while not reporter.stopping:\n    time.sleep(0.02)\n"
        "reporter.artifact('checkpoint', 'last', context.artifacts)\nraise Stopped"
    )
    job = jobs.submit(JobSpec(kind="code", arguments={"code": code}))
    for event in jobs.watch(job.id):
        if event.type == "phase":
            jobs.cancel(job.id)
    last = jobs.get(job.id)
    assert (last.state, last.exit_code) == (JobState.CANCELLED, 143)
    assert jobs.events(job.id)[-1].type == "artifact"


def test_unknown_kind_fails_with_its_name(jobs: SyncJobs) -> None:
    job = jobs.submit(JobSpec(kind="astrology"))
    *_, end = jobs.watch(job.id)
    assert end.fields["cause"] == "invalid" and "'astrology'" in end.fields["message"]


def test_invalid_argument_is_named(jobs: SyncJobs) -> None:
    job = jobs.submit(JobSpec(kind="train", arguments={"data": ["x"], "epochs": -1}))
    *_, end = jobs.watch(job.id)
    assert end.fields["state"] == "FAILED" and end.fields["message"].startswith("epochs: ")


def test_worker_module_runs_a_job(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    spec = job_spec("train", {"data": ["/no/such/file.jsonl"], "model": "/no/such/model"})
    (folder / "spec.json").write_text(json.dumps({"id": "train-aaaaaaaa", **spec.model_dump(mode="json")}))
    done = subprocess.run(
        [sys.executable, "-m", "ilab_jupyter.kinds", str(folder), "1"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    last = EventTail(folder / "events.jsonl").read()[-1]
    assert (last["type"], last["attempt"]) == ("error", 1) and last["message"]


# Errors.


class OutOfMemoryError(RuntimeError):
    """The name of torch's exception."""


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MemoryError(), "out_of_memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            "out_of_memory",
        ),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "gpu_out_of_memory"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "disk_full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "disk_full"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "engine_missing"),
        (ModuleNotFoundError("No module named 'mine'", name="mine"), "crashed"),
        (KeyError("x"), "crashed"),
    ],
)
def test_known_errors_have_their_own_cause(error: Exception, cause: str) -> None:
    assert explain(error).cause == cause
    try:
        try:
            raise error
        except Exception as inner:
            raise RuntimeError("while saving") from inner
    except RuntimeError as outer:
        assert explain(outer).cause == cause
        assert explain(outer).message and explain(outer).hint


def test_public_error_is_not_replaced() -> None:
    error = TeacherError("x", "y")
    assert explain(error) is error and explain(InvalidInput("x")).cause == "invalid"


# The reporter.


def lines(path: Path) -> list[dict[str, Any]]:
    return EventTail(path).read(10_000)


def test_progress_is_throttled_and_keeps_the_last_step(tmp_path: Path) -> None:
    reporter: Reporter = EventReporter(tmp_path / "e", 1)
    reporter.phase("training")
    started = time.monotonic()
    for step in range(1, 5001):
        reporter.progress(step, 5000)
    written = [line for line in lines(tmp_path / "e") if line["type"] == "progress"]
    assert written[-1]["step"] == 5000 and written[0]["step"] == 1
    assert len(written) <= 10 * (time.monotonic() - started) + 3


def test_last_step_is_written_before_the_next_phase(tmp_path: Path) -> None:
    reporter = EventReporter(tmp_path / "e", 1)
    reporter.phase("generating")
    for step in range(7):
        reporter.progress(step, None, rows=step)
    reporter.phase("saving")
    written = [(line["type"], line.get("step"), line.get("rows")) for line in lines(tmp_path / "e")]
    assert written[-2:] == [("progress", 6, 6), ("phase", None, None)]


def test_eta_uses_the_pace_of_the_phase(tmp_path: Path) -> None:
    reporter = EventReporter(tmp_path / "e", 1)
    reporter.phase("loading")
    time.sleep(0.3)  # the slow start of an earlier phase does not affect this one
    reporter.phase("training")
    for step in range(5):
        reporter.progress(step, 10)
        time.sleep(0.11)
    reporter.progress(5, 10, eta_seconds=99.0)
    etas = [line.get("eta_seconds") for line in lines(tmp_path / "e") if line["type"] == "progress"]
    assert etas[0] is None and 0.5 <= etas[4] <= 1.5
    time.sleep(0.1)
    reporter.phase("end")
    assert [line for line in lines(tmp_path / "e") if line["type"] == "progress"][-1]["eta_seconds"] == 99.0


def test_event_fields_cannot_be_overwritten(tmp_path: Path) -> None:
    reporter = EventReporter(tmp_path / "e", 3)
    reporter.event("endpoint", seq=900, time="never", attempt=8, url="http://127.0.0.1:1")
    (line,) = lines(tmp_path / "e")
    assert (line["seq"], line["attempt"], line["url"]) == (1, 3, "http://127.0.0.1:1")


def test_full_disk_loses_events_but_not_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = EventReporter(Path("/dev/full"), 1)
    reporter.phase("training")
    reporter.warning("w")
    assert capsys.readouterr().err.count("No space left") == 2
    with pytest.raises(OSError, match="No space left"):
        reporter.write_final("result", result={})


# The environment.


def prepared(code: str, **environment: str) -> Any:
    program = "import os, json\nfrom ilab_jupyter.kinds.environment import prepare\nprepare()\n"
    program += f"print(json.dumps({code}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_environment_silences_libraries_and_extends_path() -> None:
    names = ["HF_HUB_DISABLE_TELEMETRY", "TOKENIZERS_PARALLELISM", "OMP_WAIT_POLICY"]
    assert prepared(f"[os.environ[name] for name in {names}]") == ["1", "false", "passive"]
    assert prepared("os.environ['PATH'].split(':')[0]", PATH="/usr/bin") == str(Path(sys.prefix) / "bin")


def test_environment_keeps_user_settings() -> None:
    assert prepared("os.environ['OMP_NUM_THREADS']", OMP_NUM_THREADS="3") == "3"
    assert prepared("os.environ['OMP_WAIT_POLICY']", OMP_WAIT_POLICY="active") == "active"


def test_stop_during_imports_is_not_a_crash(jobs: SyncJobs) -> None:
    code = (
        "import os, signal\nfrom ilab_jupyter.progress import Stopped\nos.kill(os.getpid(), signal.SIGTERM)\n"
        "assert reporter.stopping\nraise Stopped"
    )
    job = ended(jobs, code)
    assert (job.state, job.exit_code) == (JobState.INTERRUPTED, 128 + signal.SIGTERM)
