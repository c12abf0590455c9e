"""GPUs, memory and disk that jobs share. The GPUs are configured, as on a machine without NVML."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.attempt.process import TOKEN, boot_id
from ilab_jupyter.jobs.device import Device, Lease
from ilab_jupyter.jobs.queue import leases
from ilab_jupyter.jobs.queue.leases import machine
from ilab_jupyter.jobs.record import Job, Resources
from ilab_jupyter.jobs.state import JobState
from tests.support.postgres import ON_BOTH
from tests.support.waiting import until

GB = 10**9
GPUS = [Device(uuid=f"GPU-{letter}", name="H", memory_total=80 * GB) for letter in "ab"]
VISIBLE = ["show_env", "CUDA_VISIBLE_DEVICES"]


@pytest.fixture
def gpu(harness: Any) -> Any:
    """A harness with one GPU and four slots."""
    harness.local.configure(devices=GPUS[:1], slots={"batch": 4})
    return harness


def sees(harness: Any, job: Job) -> str | None:
    """CUDA_VISIBLE_DEVICES of the job's worker."""
    return json.loads(harness.log(job.id).splitlines()[0])["CUDA_VISIBLE_DEVICES"]


def held(harness: Any) -> list[tuple[str, str]]:
    return [(lease.device, lease.job) for lease in harness.jobs.queue().leases]


@ON_BOTH
def test_gpu_is_exclusive_and_waiting_job_names_its_holder(gpu: Any, state: Path) -> None:
    first = gpu.submit(VISIBLE, ["wait_for", str(state / "go")])
    assert gpu.reach(first.id, JobState.RUNNING).devices == ["GPU-a"]
    second = gpu.submit(VISIBLE)
    gpu.local.turn()
    waits = gpu.jobs.get(second.id)
    assert (waits.state, waits.position) == (JobState.QUEUED, 1)
    assert waits.pending_reason == f"It waits for 1 GPU: it is used by {first.id}."
    assert held(gpu) == [("GPU-a", first.id)]
    (state / "go").touch()
    assert gpu.end(second.id).state is JobState.SUCCEEDED
    assert (sees(gpu, first), sees(gpu, second)) == ("GPU-a", "GPU-a")
    assert gpu.jobs.get(first.id).ended_at <= gpu.jobs.get(second.id).started_at
    assert held(gpu) == []


def test_two_gpus_serve_two_jobs_or_one(harness: Any, state: Path) -> None:
    harness.local.configure(devices=GPUS, slots={"batch": 4})
    jobs = [harness.submit(VISIBLE, ["wait_for", str(state / "go")]) for _ in range(2)]
    for job in jobs:
        harness.reach(job.id, JobState.RUNNING)
    both = harness.submit(VISIBLE, resources=Resources(gpus=2))
    harness.local.turn()
    used = " and ".join(sorted([jobs[0].id, jobs[1].id]))
    reason = harness.jobs.get(both.id).pending_reason
    assert reason.startswith("It waits for 2 GPUs: both are used by ")
    assert " and ".join(sorted(reason.removesuffix(".").split(" by ")[1].split(" and "))) == used
    (state / "go").touch()
    harness.end(both.id)
    assert {sees(harness, job) for job in jobs} == {"GPU-a", "GPU-b"}
    assert sees(harness, both) == "GPU-a,GPU-b"


def test_jobs_with_memory_requests_share_a_gpu(gpu: Any, state: Path) -> None:
    part = Resources(gpus=1, gpu_memory_gb=35)
    jobs = [gpu.submit(VISIBLE, ["wait_for", str(state / "go")], resources=part) for _ in range(2)]
    for job in jobs:
        gpu.reach(job.id, JobState.RUNNING)
    third = gpu.submit(VISIBLE, resources=part)
    gpu.local.turn()
    reason = gpu.jobs.get(third.id).pending_reason
    assert reason.startswith("It waits for 1 GPU with 35 GB: 10 GB of one are free beside ")
    assert [lease.memory for lease in gpu.jobs.queue().leases] == [35 * GB, 35 * GB]
    (state / "go").touch()
    gpu.end(third.id)
    assert {sees(gpu, job) for job in [*jobs, third]} == {"GPU-a"}


def test_job_without_gpu_sees_none_and_does_not_wait(gpu: Any, state: Path) -> None:
    gpu.reach(gpu.submit(["wait_for", str(state / "go")]).id, JobState.RUNNING)
    job = gpu.submit(VISIBLE, resources=Resources(gpus=0))
    assert gpu.end(job.id).state is JobState.SUCCEEDED
    assert sees(gpu, job) == ""


def test_job_keeps_submitters_devices_without_known_gpus(
    harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    job = harness.submit(VISIBLE)
    harness.end(job.id)
    assert sees(harness, job) == "7"


@pytest.mark.parametrize(
    ("chosen", "left"),
    [(None, "ab"), ("", "ab"), ("-1", "ab"), ("1", "b"), ("1,0", "ba"), ("GPU-b,9,0", "b"), ("MIG-1", "")],
)
def test_hidden_devices_of_a_process_stay_visible_to_the_queue(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None, left: str
) -> None:
    if chosen is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    monkeypatch.setattr(leases, "_query_nvml", lambda: tuple(GPUS))
    monkeypatch.setattr(leases, "_cached", None)
    assert [device.uuid for device in leases.devices("")] == [f"GPU-{letter}" for letter in left]


def test_kernel_without_gpus_starts_other_jobs_on_free_gpu(
    harness: Any, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_query_nvml", lambda: tuple(GPUS))
    monkeypatch.setattr(leases, "_cached", None)
    harness.local.configure(slots={"batch": 4})
    first = harness.submit(VISIBLE, ["wait_for", str(state / "go")])
    harness.reach(first.id, JobState.RUNNING)
    harness.jobs.pause()
    other = harness.submit(VISIBLE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(leases, "_cached", None)
    mine = harness.submit(VISIBLE)
    harness.jobs.unpause()
    for job in (other, mine):
        harness.end(job.id)
    (state / "go").touch()
    harness.end(first.id)
    assert {sees(harness, first), sees(harness, other)} == {"GPU-a", "GPU-b"}
    assert sees(harness, mine) == "" and harness.jobs.get(mine.id).spec.resources.gpus == 0


def test_devices_removed_by_administrator_are_not_visible(harness: Any) -> None:
    harness.local.configure(devices=[])
    job = harness.submit(VISIBLE)
    harness.end(job.id)
    assert sees(harness, job) == ""


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        (Resources(gpus=4), "It asks for 4 GPUs; this machine has 1."),
        (Resources(gpus=1, gpu_memory_gb=141), "It asks for 141 GB of GPU memory; a GPU here has 80 GB."),
        (Resources(memory_gb=99_999), "It asks for 99999 GB of memory; this machine has "),
        (Resources(cpus=4000), "It asks for 4000 CPUs; this machine has "),
        (Resources(disk_gb=999_999), "It asks for 999999 GB of disk; this one has "),
    ],
)
def test_unsatisfiable_request_is_refused(gpu: Any, requested: Resources, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        gpu.submit(["print"], resources=requested)
    assert refused.value.message.startswith(message)
    assert gpu.jobs.list().jobs == []


def test_gpu_request_without_gpu_is_refused(harness: Any) -> None:
    harness.local.configure(devices=[])
    with pytest.raises(InvalidInput, match="It asks for 1 GPU; this machine has none"):
        harness.submit(["print"], resources=Resources(gpus=1))


@pytest.mark.parametrize(
    "devices",
    [
        [Device(uuid="GPU-a", memory_total=0)],
        [Device(uuid="a,b", memory_total=GB)],
        [Device(uuid="", memory_total=GB)],
        [GPUS[0], GPUS[0]],
    ],
)
def test_invalid_devices_are_refused(harness: Any, devices: list[Device]) -> None:
    with pytest.raises(InvalidInput):
        harness.local.configure(devices=devices)


@pytest.mark.parametrize("end", ["fails", "crashes", "cancelled", "supervisor killed"])
def test_gpu_is_free_after_any_end_of_job(gpu: Any, state: Path, end: str) -> None:
    do = {"fails": ["exit", 3], "crashes": ["die", int(signal.SIGSEGV)]}.get(end, ["sleep", 60])
    job = gpu.submit(["wait_for", str(state / "go")], do)
    gpu.reach(job.id, JobState.RUNNING)
    (state / "go").touch()
    if end == "cancelled":
        gpu.jobs.cancel(job.id)
    elif end == "supervisor killed":
        record = gpu.local.state.job(job.id).attempt(1).record
        os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
    gpu.end(job.id)
    assert held(gpu) == []
    assert gpu.end(gpu.submit(["print"]).id).state is JobState.SUCCEEDED


def test_gpu_is_kept_until_its_last_process_is_gone(harness: Any) -> None:
    harness.local.configure(devices=GPUS[:1], slots={"batch": 0})
    store = harness.local._store
    job = harness.submit(["print"])
    lease = [Lease(device="GPU-a", job=job.id)]
    starting = store.move(
        store.get(job.id), JobState.STARTING, leases=lease, token="t0k3n", boot_id=boot_id()
    )
    left = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={**os.environ, TOKEN: "t0k3n"}
    )
    store.move(starting, JobState.FAILED, keep_leases=True, ended=time.time(), cause="crashed")
    assert held(harness) == [("GPU-a", job.id)]
    harness.local.configure(slots={"batch": 1})
    after = harness.submit(["print"])
    assert harness.end(after.id).state is JobState.SUCCEEDED
    assert left.wait(10) == -signal.SIGKILL
    assert held(harness) == []


def test_requested_memory_is_not_assigned_twice(harness: Any, state: Path) -> None:
    harness.local.configure(slots={"batch": 4})
    most = round(machine(state, ()).memory / GB * 0.6, 1)
    first = harness.submit(["wait_for", str(state / "go")], resources=Resources(gpus=0, memory_gb=most))
    harness.reach(first.id, JobState.RUNNING)
    second = harness.submit(["print"], resources=Resources(gpus=0, memory_gb=most))
    third = harness.submit(["print"], resources=Resources(gpus=0))
    assert harness.end(third.id).state is JobState.SUCCEEDED, "a job without requests does not wait"
    reason = harness.jobs.get(second.id).pending_reason
    assert reason.startswith(f"It waits for {most:g} GB of memory; ")
    assert reason.endswith(" GB are free.")
    (state / "go").touch()
    assert harness.end(second.id).state is JobState.SUCCEEDED


def test_requested_processors_are_not_assigned_twice(harness: Any, state: Path) -> None:
    harness.local.configure(slots={"batch": 4})
    all_of_them = len(os.sched_getaffinity(0))
    first = harness.submit(["wait_for", str(state / "go")], resources=Resources(gpus=0, cpus=all_of_them))
    harness.reach(first.id, JobState.RUNNING)
    second = harness.submit(["print"], resources=Resources(gpus=0, cpus=0.5))
    harness.local.turn()
    assert harness.jobs.get(second.id).pending_reason == "It waits for 0.5 CPUs; 0 are free."
    (state / "go").touch()
    assert harness.end(second.id).state is JobState.SUCCEEDED


def test_job_waiting_for_disk_does_not_block_others(harness: Any, state: Path) -> None:
    disk = shutil.disk_usage(state)
    between = round((disk.free + (disk.total - disk.free) / 2) / GB, 1)
    job = harness.submit(["print"], resources=Resources(gpus=0, disk_gb=between))
    other = harness.submit(["print"], resources=Resources(gpus=0))
    assert harness.end(other.id).state is JobState.SUCCEEDED
    assert harness.jobs.get(job.id).pending_reason.startswith(f"It waits for {between:g} GB of disk; ")


# A deployment that holds the GPU, and a job that needs it.


def test_idle_deployment_is_preempted_and_returns(gpu: Any, state: Path) -> None:
    served = gpu.submit(
        [["serve_until_preempted"]],
        [[*VISIBLE], ["wait_for", str(state / "end")]],
        kind="serve",
        queue="serving",
    )
    note = gpu.local.state.job(served.id).release
    gpu.reach(served.id, JobState.RUNNING)
    gpu.local.turn()
    assert not note.exists()
    trained = gpu.submit(VISIBLE, ["wait_for", str(state / "go")])
    gpu.reach(trained.id, JobState.RUNNING)
    waits = gpu.jobs.get(served.id)
    assert (waits.state, waits.attempt) == (JobState.QUEUED, 2)
    assert [attempt.cause for attempt in gpu.jobs.attempts(served.id)] == ["preempted", None]
    until(lambda: gpu.jobs.get(served.id).pending_reason.startswith("It waits for 1 GPU"))
    (state / "go").touch()
    assert gpu.end(trained.id).state is JobState.SUCCEEDED
    assert gpu.reach(served.id, JobState.RUNNING, seconds=30).devices == ["GPU-a"]
    gpu.local.turn()
    assert not note.exists()
    (state / "end").touch()
    assert gpu.end(served.id).state is JobState.SUCCEEDED


def test_unload_request_is_withdrawn_when_waiting_job_is_gone(gpu: Any, state: Path) -> None:
    served = gpu.submit(["wait_for", str(state / "go")], kind="serve", queue="serving")
    gpu.reach(served.id, JobState.RUNNING)
    waiting = gpu.submit(["print"])
    note = gpu.local.state.job(served.id).release
    until(note.exists)
    assert json.loads(note.read_text())["for"] == waiting.id
    reason = gpu.jobs.get(waiting.id).pending_reason
    assert reason == f"It waits for 1 GPU: it is used by {served.id}. {served.id} will unload when idle."
    gpu.jobs.cancel(waiting.id)
    gpu.local.turn()
    assert not note.exists()
