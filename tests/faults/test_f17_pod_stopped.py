"""F17: a server or pod stopped during a training: the training saves, and continues on the next server."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ilab_jupyter import paths
from ilab_jupyter.jobs.attempt.process import TOKEN
from ilab_jupyter.training.run import train
from ilab_jupyter.training.spec import TrainingArguments
from tests.support.events import EventRecorder
from tests.support.server import JupyterServerProcess
from tests.support.training import pairs, tiny
from tests.support.waiting import until

__all__ = ["pairs", "tiny"]

# Real trainings that import torch seven times, which is slow on a busy machine.
pytestmark = pytest.mark.timeout(900)

# Of the pod; a worker has less, so that its server can see it end.
GRACE = 30.0
WORKER_GRACE = 20.0
STEPS, SAVE_STEPS = 160, 20
AT_ONCE = 2
SETTINGS = (f"--IlabApp.grace_seconds={WORKER_GRACE}", f"--IlabApp.slots={{'batch': {AT_ONCE}}}")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., JupyterServerProcess]]:
    """Start Jupyter servers on the folder of this test; all are stopped at the end."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    started: list[JupyterServerProcess] = []

    def start(*settings: str) -> JupyterServerProcess:
        process = JupyterServerProcess(tmp_path, *SETTINGS, *settings, python=python)
        process.start()
        started.append(process)
        return process

    python = Path(sys.executable)
    yield start
    for process in started:
        process.kill()
    kill_all()


def of_jobs() -> list[psutil.Process]:
    """Return every process of a job of this test, by its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if TOKEN in environment and environment.get("HOME") == str(Path(os.environ["HOME"]).parent):
            found.append(process)
    return found


def kill_all() -> int:
    """Kill the remaining processes, as at the end of a pod; return how many there were."""
    left = of_jobs()
    for process in left:
        process.kill()
    psutil.wait_procs(left, 10)
    return len(left)


def arguments(data: Path, name: str) -> dict[str, Any]:
    return {
        **{"data": [str(data)], "name": name, "device": "cpu", "seed": 7},
        **{"learning_rate": 1e-3, "batch_size": 4, "max_steps": STEPS, "save_steps": SAVE_STEPS},
    }


def submit(server: JupyterServerProcess, model: Path, data: Path, name: str) -> str:
    spec = {"kind": "train", "arguments": {"model": str(model), **arguments(data, name)}}
    answer = server.http.post("ilab/api/jobs", json=spec)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def ended(server: JupyterServerProcess, id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        job = server.http.get(f"ilab/api/jobs/{id}").json()
        return job if job["ended_at"] else None

    job: dict[str, Any] = until(look, 180, pause=0.5)
    assert job["state"] == "SUCCEEDED", (json.dumps(job), server.log[-3000:])
    return job


def at_steps(server: JupyterServerProcess, ids: list[str], step: int) -> list[int]:
    """Wait until all trainings have started and the first has reached `step`; return their steps."""

    def look() -> list[int] | None:
        jobs = [server.http.get(f"ilab/api/jobs/{id}").json() for id in ids]
        assert not any(job["ended_at"] for job in jobs), jobs
        progress = [job["progress"] for job in jobs]
        steps = [one["step"] if one["total"] == STEPS else 0 for one in progress]
        return steps if min(steps) >= 2 and max(steps) >= step else None

    return list(until(look, 120))


def saved(id: str) -> int:
    """Return the step of the newest complete checkpoint."""
    folders = (paths.checkpoints_dir() / id).glob("checkpoint-*")
    sealed = [folder for folder in folders if (folder / "ilab-complete.json").exists()]
    return max((int(folder.name.removeprefix("checkpoint-")) for folder in sealed), default=0)


_known: dict[Path, tuple[float, float]] = {}


def uninterrupted(model: Path, data: Path) -> tuple[float, float]:
    """Final loss of an uninterrupted training, and the difference to a second one as tolerance.

    Both run here, without a server, and only for the first test that asks: they are the same for every one.
    """
    if model in _known:
        return _known[model]
    import torch

    torch.set_num_threads(1)
    found = []
    for number in range(2):
        given = TrainingArguments.model_validate(arguments(data, f"whole-{number}"))
        done = train(model.name, model, given, job_id=None, resume=False, reporter=EventRecorder())
        assert done.final_loss is not None
        found.append(done.final_loss)
    spread = abs(found[0] - found[1])
    assert spread < 1e-3, "runs with one seed differ too much to derive a tolerance"
    return _known.setdefault(model, (found[0], max(2 * spread, 1e-6)))


def test_trainings_of_a_stopped_server_resume_to_the_same_result(
    server: Callable[..., JupyterServerProcess], tiny: Path, pairs: Path, count: Any, figures: Any
) -> None:
    chance = random.Random(17)
    expected, tolerance = uninterrupted(tiny, pairs)
    running = server("--IlabApp.stop_jobs=always")
    for round in range(count(2, 48) // AT_ONCE):
        ids = [submit(running, tiny, pairs, f"parts-{round}-{number}") for number in range(AT_ONCE)]
        reached = at_steps(running, ids, chance.randrange(2, STEPS // 2))
        started = time.monotonic()
        running.stop(GRACE)
        took = time.monotonic() - started
        assert kill_all() == 0, "a process of a job survived the server"
        kept = [saved(id) for id in ids]
        running = server("--IlabApp.stop_jobs=always")
        for id, step, checkpoint in zip(ids, reached, kept, strict=True):
            job = ended(running, id)
            assert checkpoint >= step and job["attempt"] == 2
            assert job["result"]["resumed_from"] == checkpoint
            assert abs(job["result"]["final_loss"] - expected) <= tolerance
            figures.add(trainings_stopped=1)
            figures.most(stop_seconds=took, loss_difference=abs(job["result"]["final_loss"] - expected))
        figures.add(stops=1)
    figures.put(loss_tolerance=tolerance, grace_seconds=GRACE)


@pytest.fixture
def own_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run servers as the first process of a PID namespace, which ends with them, as in a pod."""
    enter = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid():
        enter.append("--map-root-user")
    probe = subprocess.run([*enter, "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.fail(f"No PID namespace can be made here, so no pod can be stopped: {probe.stderr}")
    python = tmp_path / "python-in-a-pod"
    python.write_text(f'#!/bin/sh\nexec {" ".join(enter)} {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))


def test_next_pod_resumes_jobs_of_a_terminated_pod(
    server: Callable[..., JupyterServerProcess],
    tiny: Path,
    pairs: Path,
    own_namespace: None,
    count: Any,
    figures: Any,
) -> None:
    expected, _ = uninterrupted(tiny, pairs)
    pod = server()
    for number, how in enumerate(["stopped", "killed"][: count(1, 2)]):
        id = submit(pod, tiny, pairs, f"parts-{number}")
        (step,) = at_steps(pod, [id], SAVE_STEPS + 5)
        if how == "stopped":
            # No setting: the server detects that its jobs cannot outlive it.
            (first,) = psutil.Process(pod._process.pid).children()
            first.send_signal(signal.SIGTERM)
            pod._process.wait(GRACE)
            kept = saved(id)
            assert kept >= step
        else:
            pod.kill()
            kept = saved(id)
            assert kept >= SAVE_STEPS
        until(lambda: not of_jobs(), 5)
        pod = server()
        job = ended(pod, id)
        assert (job["attempt"], job["result"]["resumed_from"]) == (2, kept)
        assert abs(job["result"]["final_loss"] - expected) <= 1e-6
        figures.add(pods=1)
