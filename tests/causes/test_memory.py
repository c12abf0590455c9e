"""Memory that runs out: in Python, by the kernel's hand, over a job's own limit, on a GPU."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.attempt.memory import KillCount, counter, locate, resident
from ilab_jupyter.jobs.attempt.process import Identity
from ilab_jupyter.jobs.state import JobState
from tests.support.jobs import WORKER

# Takes memory by and by, as a training does, so that whoever watches it can see it grow.
GROW = "import time\nheld = []\nwhile True:\n    held.append(b'x' * 20_000_000)\n    time.sleep(0.02)\n"


def test_python_memory_error_is_out_of_memory(works: Any) -> None:
    code = (
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2_000_000_000, 2_000_000_000))\n"
        "held = bytearray(4_000_000_000)"
    )
    job = works.end(works.code(code))
    assert (job.state, job.cause, job.exit_code) == (JobState.FAILED, "out_of_memory", 1)
    assert "machine ran out of memory" in job.message and job.remedy == f"resume {job.id}"
    assert "MemoryError" in works.log(job)


def test_torch_allocation_error_is_out_of_memory(works: Any) -> None:
    code = (
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (40_000_000_000, 40_000_000_000))\n"
        "import torch\nheld = torch.empty(40_000_000_000, dtype=torch.uint8)"
    )
    job = works.end(works.code(code))
    assert (job.state, job.cause) == (JobState.FAILED, "out_of_memory"), works.log(job)


def test_training_out_of_memory_suggests_smaller_one(
    works: Any, tiny: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The limit comes over a sitecustomize of the test, once the libraries are loaded."""
    (tmp_path / "sitecustomize.py").write_text(
        "import resource, threading, sys, time\n"
        "def limit():\n"
        "    while 'ilab_jupyter.training.trainer' not in sys.modules: time.sleep(0.001)\n"
        "    used = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
        "    resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)\n"
        "if 'code_worker' in ' '.join(sys.orig_argv): threading.Thread(target=limit, daemon=True).start()\n"
    )
    many = tmp_path / "many.jsonl"
    row = json.loads(pairs.read_text().splitlines()[0])
    row["messages"][1]["content"] *= 100
    many.write_text("\n".join([json.dumps(row)] * 512) + "\n")
    job = works.ended("train", model=str(tiny), data=[str(many)], batch_size=512, epochs=1)
    assert (job.state, job.cause) == (JobState.FAILED, "out_of_memory"), works.log(job)
    assert "Train with batch_size 256 and max_seq_length 128" in job.hint
    words = shlex.split(job.remedy)
    assert words[:2] == ["train", str(many)] and words[words.index("--batch-size") + 1] == "256"


# A job's own limit.


def test_job_over_its_memory_request_is_ended_with_numbers(works: Any) -> None:
    job = works.end(works.code(GROW, memory_gb=0.5))
    assert (job.state, job.cause, job.exit_code) == (JobState.FAILED, "out_of_memory", -signal.SIGKILL)
    used = float(job.message.removeprefix("It used ").split(" GB")[0])
    assert used > 0.5 and "more than the 0.5 GB that it requested" in job.message
    assert "request more memory" in job.hint


def test_child_processes_count_and_end_with_job(works: Any, tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {GROW!r}])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    job = works.end(works.code(code, memory_gb=0.5))
    assert (job.state, job.cause) == (JobState.FAILED, "out_of_memory")
    assert Identity.of(int((tmp_path / "pid").read_text())) is None


def test_memory_that_processes_share_counts_once(works: Any) -> None:
    code = (
        "import os, time\nheld = b'x' * 300_000_000\n"
        "children = [os.fork() for _ in range(1)]\n"
        "if 0 in children: time.sleep(60)\n"
        "else:\n    other = os.fork()\n    time.sleep(2.5 if other else 60)\n"
    )
    job = works.end(works.code(code, memory_gb=0.7))
    assert job.state is JobState.SUCCEEDED, job.message


def test_a_job_within_its_limit_is_left_alone(works: Any) -> None:
    job = works.end(works.code("import time\nheld = b'x' * 100_000_000\ntime.sleep(1.5)", memory_gb=1))
    assert job.state is JobState.SUCCEEDED


def test_what_is_resident_is_seen(works: Any) -> None:
    code = "import sys, time; held = b'x' * 200_000_000; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert 200_000_000 < resident([process.pid], 0) <= resident([process.pid], 10**12) < 400_000_000
        process.kill()
    assert resident([process.pid], 0) == 0


# The kernel's kill.


@pytest.fixture
def narrow() -> Iterator[Path]:
    """A control group with 400 MB of memory."""
    own = counter(os.getpid())
    if own is None or own.name not in ("memory.oom_control", "memory.events"):
        pytest.skip("this machine has no memory control groups")
    folder = own.parent / f"ilab-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"a control group cannot be made in {own.parent}: {error.strerror}")
    limit = "memory.max" if own.name == "memory.events" else "memory.limit_in_bytes"
    try:
        (folder / limit).write_text("400000000")
    except OSError as error:
        folder.rmdir()
        pytest.skip(f"a control group of {own.parent} cannot have a limit: {error.strerror}")
    yield folder
    for pid in (folder / "cgroup.procs").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    for _ in range(100):
        try:
            folder.rmdir()
            return
        except OSError:
            subprocess.run(["sleep", "0.05"], check=True)


def joined(group: Path, code: str) -> str:
    """The code, in a process that has entered the group first."""
    return f"import os\nopen({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n{code}"


def test_a_worker_that_the_kernel_kills_for_memory_says_so(works: Any, narrow: Path) -> None:
    job = works.end(works.code(joined(narrow, f"import time\ntime.sleep(2.5)\n{GROW}")))
    assert (job.state, job.cause, job.exit_code) == (JobState.FAILED, "out_of_memory", -signal.SIGKILL)
    assert job.message == "The kernel killed its process because memory ran out."


def test_training_killed_by_kernel_suggests_smaller_one(
    works: Any, narrow: Path, tiny: Path, pairs: Path, tmp_path: Path
) -> None:
    """With its own supervisor in the same group, as in a container."""
    program = tmp_path / "submit.py"
    program.write_text(
        joined(
            narrow,
            "from pathlib import Path\n"
            "from ilab_jupyter.jobs.local import LocalJobs\nfrom ilab_jupyter.jobs.sync import SyncJobs\n"
            "from ilab_jupyter.kinds.catalog import job_spec\n"
            f"state = Path({str(works.local.state.path)!r})\n"
            "jobs = SyncJobs(LocalJobs(state, worker_module='code_worker'))\n"
            f"arguments = dict(model={str(tiny)!r}, data=[{str(pairs)!r}], batch_size=8)\n"
            "print(jobs.submit(job_spec('train', arguments)).id)\n",
        )
    )
    paths = os.pathsep.join([str(WORKER), str(tmp_path)])
    done = subprocess.run(
        [sys.executable, str(program)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    job = works.end(works.jobs.get(done.stdout.strip()))
    assert (job.state, job.cause) == (JobState.FAILED, "out_of_memory"), works.log(job)
    assert job.exit_code == -signal.SIGKILL
    assert job.remedy == f"train {pairs} --batch-size 4 --max-seq-length 128 --model {tiny}"


def test_manual_kill_is_not_out_of_memory(works: Any, narrow: Path) -> None:
    code = "import signal, time\ntime.sleep(1)\nos.kill(os.getpid(), signal.SIGKILL)"
    job = works.end(works.code(joined(narrow, code)))
    assert (job.state, job.cause) == (JobState.FAILED, "killed")
    assert "possibly" in job.message and job.remedy == f"resume {job.id}"


def test_kills_of_long_ago_say_nothing_about_this_one(narrow: Path) -> None:
    subprocess.run([sys.executable, "-c", joined(narrow, GROW)], check=False)
    code = joined(narrow, "print(flush=True); import time; time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        count = KillCount(process.pid)
        assert count.recent() == 0
        subprocess.run([sys.executable, "-c", joined(narrow, GROW)], check=False)
        assert count.recent() == 1
        for _ in range(8):
            count.sample()
        assert count.recent() == 0
        process.kill()


@pytest.mark.parametrize(
    ("cgroups", "mount", "inside", "name"),
    [
        ("0::/user.slice/a", "30 1 0:28 / {} rw shared:4 - cgroup2 cgroup2 rw", "user.slice/a", "events"),
        ("0::/docker/abc", "30 1 0:28 /docker/abc {} rw - cgroup2 cgroup rw", ".", "events"),
        ("0::/../elsewhere", "30 1 0:28 / {} rw - cgroup2 cgroup rw", None, "events"),
        (
            "5:cpu,cpuacct:/a\n4:memory:/pod 7/x\n0::/",
            "30 1 0:28 / {} rw - cgroup cgroup rw,memory",
            "pod 7/x",
            "oom_control",
        ),
    ],
)
def test_the_counter_is_found_in_both_versions_and_in_containers(
    cgroups: str, mount: str, inside: str | None, name: str, tmp_path: Path
) -> None:
    root = tmp_path / "c group"
    file = root / (inside or "x") / f"memory.{name}"
    file.parent.mkdir(parents=True)
    file.write_text("oom_kill 0\n")
    mounts = "20 1 0:1 / /proc rw - proc proc rw\n" + mount.format(str(root).replace(" ", "\\040"))
    found = locate(cgroups, mounts)
    assert (found and found.resolve()) == (file.resolve() if inside else None)


# A GPU.


def test_torch_out_of_memory_error_has_gpu_cause(works: Any) -> None:
    code = "import torch\nraise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 GiB.')"
    job = works.end(works.code(code))
    assert (job.state, job.cause) == (JobState.FAILED, "gpu_out_of_memory")
    assert job.remedy == f"resume {job.id}"


@pytest.mark.gpu
def test_training_out_of_gpu_memory_suggests_smaller_one(
    works: Any, tiny: Path, pairs: Path, tmp_path: Path
) -> None:
    many = tmp_path / "many.jsonl"
    row = json.loads(pairs.read_text().splitlines()[0])
    row["messages"][1]["content"] *= 100
    many.write_text("\n".join([json.dumps(row)] * 4096) + "\n")
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'code_worker' in ' '.join(sys.orig_argv):\n"
        "    import torch\n    torch.cuda.set_per_process_memory_fraction(0.005)\n"
    )
    job = works.ended("train", model=str(tiny), data=[str(many)], batch_size=4096, device="cuda")
    assert (job.state, job.cause) == (JobState.FAILED, "gpu_out_of_memory"), works.log(job)
    assert "--batch-size 2048 --max-seq-length 128" in job.remedy
