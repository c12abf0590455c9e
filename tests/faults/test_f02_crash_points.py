"""F2: a process killed at any write step of the state machine leaves a state that the next process can
finish."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.attempt.process import boot_clock, boot_id, with_argument
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import Job
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.store.row import Row
from ilab_jupyter.jobs.sync import SyncJobs
from tests.faults import actions
from tests.faults.checker import Violation, check, read_world, tally
from tests.faults.environment import TRAINER, limit
from tests.faults.history import Client, History, read_lines
from tests.faults.pool import Pool
from tests.faults.processes import token
from tests.support.interpreter import make_interpreter

CRASH = Path(__file__).parent / "crash"
AT_LEAST = 25
SAMPLE = {"sqlite": 18, "postgresql": 9}
WORLDS = 5
TRIES = 8


@dataclass
class Case:
    """A job that runs through its states while one of its processes is killed at a step."""

    world: World
    tag: str
    at: str = ""
    trace: Path | None = None
    ended: float = 0.0
    id: str = ""

    @property
    def done(self) -> Path:
        """Exists once the process was killed at the step."""
        return self.world.folder / f"{self.tag}.killed"

    def act(self, role: str, what: str, subject: Any = None) -> None:
        """Make one call in a separate process; it exits or is killed at the step."""
        environment = {
            "ILAB_CRASH_UNDER": str(self.world.folder / "state"),
            "ILAB_CRASH_AT": self.at,
            "ILAB_CRASH_DONE": str(self.done),
            "PYTHONPATH": os.pathsep.join([str(CRASH), os.environ.get("PYTHONPATH", "")]),
        }
        if self.world.database_url:
            environment["ILAB_JUPYTER_DATABASE_URL"] = self.world.database_url
        if self.trace:
            environment["ILAB_CRASH_TRACE"] = str(self.trace)
        process = self.world.pool.start(actions.once, self.world.folder, role, what, subject, **environment)
        process.join(60)
        self.world.pool.kill(process)

    def arguments(self, **more: Any) -> dict[str, Any]:
        return {"tag": self.tag, "world": str(self.world.folder / "world"), "seconds": 0.05, **more}

    def find(self) -> Job | None:
        """Return the job if its submission got that far."""
        for job in self.world.local_jobs().list(limit=5).jobs:
            if self.tag in job.spec.arguments["data"][0]:
                self.id = job.id
                return job
        return None

    def known(self) -> Row:
        assert self.id or self.find() is not None
        row = self.world._local._store.get(self.id)
        assert row is not None
        return row

    def wait(self, condition: Callable[[], Any], seconds: float = 120) -> None:
        """Wait until the condition holds or the process was killed."""
        deadline = time.monotonic() + seconds
        while not condition() and not self.done.exists():
            assert time.monotonic() < deadline, f"{self.tag}: nothing happened"
            time.sleep(0.05)

    def started(self) -> bool:
        """Whether its newest attempt's worker was started."""
        job = self.known()
        return any(
            (one["job"], one["attempt"], one["what"]) == (job.id, job.attempt, "start")
            for one in read_lines(self.world.folder / "world/workers.log")
        )

    def recover(self, again: Callable[[Client], Any]) -> None:
        """Start a server and repeat the client's request; all jobs must end soon after."""
        began, allowed = time.monotonic(), limit()
        local = self.world.open()
        client = self.world.client(local, f"after-{self.tag}")
        local.turn()
        again(client)
        while not client.get(self.known().id).state.ended:  # type: ignore[union-attr]
            if time.monotonic() - began > allowed:
                self.world.late.append(self.id)
                client.cancel(self.id)
                break
            local.turn()
            time.sleep(0.05)
        self.ended = time.monotonic() - began
        local.close()


@dataclass
class World:
    """A store in which one case follows another."""

    folder: Path
    pool: Pool
    database_url: str | None
    late: list[str] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("world", "histories"):
            (self.folder / name).mkdir(parents=True)
        make_interpreter(self.folder / "trainer", TRAINER)
        self._local = self.open()
        self._local._background.stop()  # it would now and then do what the process under test shall do
        self._local.configure(slots={"batch": 1}, grace_seconds=5)

    def open(self) -> LocalJobs:
        return LocalJobs(
            self.folder / "state",
            worker_python=str(self.folder / "trainer"),
            database_url=self.database_url,
        )

    def local_jobs(self) -> SyncJobs:
        return SyncJobs(self._local)

    def configure(self, slots: int) -> None:
        self._local.configure(slots={"batch": slots})

    def client(self, local: LocalJobs, name: str) -> Client:
        return Client(SyncJobs(local), History(self.folder / f"histories/{name}.jsonl"))

    def case(self, tag: str, at: str = "", trace: Path | None = None) -> Case:
        self.cases.append(Case(self, tag, at, trace))
        return self.cases[-1]

    def check(self) -> list[Violation]:
        found = read_world(
            self._local._store,
            self.folder / "histories",
            self.folder / "world",
            supervisors_die=True,
            workers_die=True,
            late=self.late,
        )
        self._local.close()
        names = {case.id: f"{case.tag} {case.at}" for case in self.cases}
        return [Violation(one.kind, f"{one.job} {names.get(one.job)}", one.what) for one in check(found)]


def submitting(case: Case) -> None:
    """Submitter, supervisor, worker: from the submission to success."""
    given = case.arguments()
    case.act("submitter", "submit", given)
    if case.find() is not None:
        case.wait(lambda: case.known().state.ended)
    case.recover(lambda client: client.submit(given))
    killed = {"supervisor": JobState.INTERRUPTED, "worker": JobState.FAILED}.get(case.at.partition(":")[0])
    assert case.known().state in (JobState.SUCCEEDED, killed)


def turning(case: Case) -> None:
    """Turner: a waiting job is started."""
    case.world.configure(slots=0)
    client = case.world.client(case.world._local, f"before-{case.tag}")
    client.submit(case.arguments())
    case.world.configure(slots=1)
    case.act("turner", "turn")
    case.recover(lambda client: None)
    assert case.known().state is JobState.SUCCEEDED


def cancelling(case: Case) -> None:
    """Canceller: a running job is cancelled; the request is repeated if there was no response."""
    client = case.world.client(case.world._local, f"before-{case.tag}")
    client.submit(case.arguments(seconds=60, save_seconds=0.05))
    case.world._local.turn()
    case.wait(case.started)
    case.act("canceller", "cancel", case.id)
    case.recover(lambda client: client.cancel(case.id))
    assert case.known().state is JobState.CANCELLED


def resuming(case: Case) -> None:
    """Resumer: a failed job gets a second attempt; the request is repeated if there was no response."""
    client = case.world.client(case.world._local, f"before-{case.tag}")
    client.submit(case.arguments(attempts=[{"exit": 7}, {"exit": 0}]))
    case.world._local.turn()
    case.wait(lambda: case.known().state.ended)
    case.act("resumer", "resume", case.id)
    case.recover(lambda client: client.resume(case.id) if case.known().attempt == 1 else None)
    # An attempt that never started is followed by another.
    assert case.known().state is JobState.SUCCEEDED and case.known().attempt in (2, 3)


def guarding(case: Case) -> None:
    """Guardian: the supervisor is killed, and its processes are cleaned up."""
    # If it is killed before it has a supervisor, the attempt never starts; another follows.
    given = case.arguments(attempts=[{"seconds": 60}, {"seconds": 0.05}])
    case.act("client", "submit", given)
    case.wait(case.started)
    if case.started():
        row = case.world._local._store.get(case.id)
        assert row is not None and row.token is not None
        os.kill(max(with_argument(row.token)), signal.SIGKILL)
    case.wait(lambda: case.known().state.ended)
    case.recover(lambda client: None)
    assert case.known().state in (JobState.INTERRUPTED, JobState.SUCCEEDED)


Flow = Callable[[Case], None]
Point = tuple[Flow, str]
FLOWS: dict[Flow, set[str]] = {
    submitting: {"submitter", "supervisor", "worker"},
    turning: {"turner"},
    cancelling: {"canceller"},
    resuming: {"resumer"},
    guarding: {"guardian"},
}


def points(world: World, flow: Flow, lives: int) -> list[str]:
    """Return the steps that occur in every one of `lives` runs without a fault."""
    traces = []
    for number in range(lives):
        trace = world.folder / f"trace-{flow.__name__}-{number}"
        flow(world.case(f"dry-{flow.__name__}-{number}", trace=trace))
        traces.append(trace.read_text().split("\n"))
    every = [name for name in dict.fromkeys(traces[0]) if all(name in trace for trace in traces)]
    return [name for name in every if name.partition(":")[0] in FLOWS[flow]]


def sample(every: list[Point], size: int, chance: random.Random) -> list[Point]:
    """Draw `size` points, at least one of every role."""
    chance.shuffle(every)
    roles = {name.partition(":")[0]: (flow, name) for flow, name in every}
    return list(dict.fromkeys([*roles.values(), *every[: max(0, size - len(roles))]]))


@pytest.fixture
def worlds(request: pytest.FixtureRequest, tmp_path: Path, pool: Pool, backend: str) -> list[World]:
    urls: list[str | None] = [None] * WORLDS
    if backend == "postgresql":
        server = request.getfixturevalue("postgres_server")
        names = [f"crashes_{number}" for number in range(WORLDS)]
        for name in names:
            server.run(f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
        urls = [server.url(name) for name in names]
    return [World(tmp_path / f"world-{number}", pool, url) for number, url in enumerate(urls)]


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_process_killed_at_any_step_keeps_jobs_consistent(
    worlds: list[World], count: Any, figures: Any, backend: str
) -> None:
    chance = random.Random(2)
    times = count(ci=1, full=20, adds=backend == "sqlite")
    with ThreadPoolExecutor(WORLDS) as threads:
        lives = [1 if times == 1 else 3] * len(FLOWS)
        found = list(threads.map(points, worlds, FLOWS, lives))
    every = [(flow, name) for flow, names in zip(FLOWS, found, strict=True) for name in names]
    figures.put(**{f"{backend}_points": len(every)})
    assert len(every) >= AT_LEAST
    wanted = sample(every, SAMPLE[backend], chance) if times == 1 else every * times
    chance.shuffle(wanted)
    queue, lock = list(enumerate(wanted)), threading.Lock()
    missed: Counter[str] = Counter()
    slowest = [0.0]

    def one(world: World, number: int, flow: Flow, name: str) -> None:
        # Another process may do the work before the one that is to be killed.
        for again in range(TRIES):
            case = world.case(f"case-{number}-{again}", name)
            flow(case)
            if case.done.exists():
                break
        with lock:
            slowest[0] = max(slowest[0], case.ended)
            missed[name] += not case.done.exists()

    def work(world: World) -> None:
        while queue:
            with lock:
                number, (flow, name) = queue.pop()
            try:
                one(world, number, flow, name)
            except BaseException as error:
                queue.clear()
                raise AssertionError(f"{world.folder.name}, case {number}, {name}: {error}") from error

    with ThreadPoolExecutor(len(worlds)) as threads:
        for done in [threads.submit(work, world) for world in worlds]:
            done.result()
    violations = [violation for world in worlds for violation in world.check()]
    planned = Counter(name for _, name in wanted)
    never = [name for name in planned if missed[name] == planned[name]]
    figures.add(kills=len(wanted) - missed.total(), missed=missed.total(), **tally(violations))
    figures.most(slowest_end_s=slowest[0])
    assert violations == [] and never == []


def test_cancel_takes_effect_if_canceller_is_killed_before_signal(harness: Any, running: Any) -> None:
    job = running()
    store = harness.local._store
    assert store.move(store.get(job.id), JobState.STOPPING, stop_reason="cancel")
    assert harness.end(job.id, seconds=10).state is JobState.CANCELLED, "the supervisor reads its row"


def test_job_starts_again_if_spawner_is_killed_after_row(harness: Any, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    harness.local.configure(slots={"batch": 0})
    job = harness.submit(["write", str(ran), "x"])
    store = harness.local._store
    moved = store.move(
        store.get(job.id), JobState.STARTING, token="0" * 32, boot_id=boot_id(), spawned=boot_clock()
    )
    assert moved is not None
    harness.local.configure(slots={"batch": 1})
    harness.local.turn()
    assert harness.jobs.get(job.id).state is JobState.STARTING, "a supervisor may still appear"
    time.sleep(2.1)
    harness.local.turn()
    ended = harness.end(job.id)
    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 2) and ran.read_text() == "x"
    assert store.attempts(job.id)[0].cause == "lost"


def test_delayed_supervisor_starts_nothing(harness: Any, state: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    harness.local.configure(slots={"batch": 0})
    job = harness.submit(["write", str(ran), "x"])
    store, mark = harness.local._store, "f" * 32
    starting = store.move(
        store.get(job.id), JobState.STARTING, token=mark, boot_id="another boot", spawned=0.0
    )
    assert starting is not None
    harness.local.turn()  # sees that it is lost, and queues it again
    harness.local.state.job(job.id).attempt(1).path.mkdir(parents=True, exist_ok=True)
    assert harness.jobs.get(job.id).attempt == 2
    late = [sys.executable, "-m", "ilab_jupyter.jobs.attempt.supervisor", str(state), job.id, "1", mark]
    assert subprocess.run(late, timeout=30).returncode == 0
    assert not ran.exists() and harness.jobs.get(job.id).state is JobState.QUEUED


def test_second_supervisor_of_an_attempt_starts_nothing(harness: Any, state: Path, tmp_path: Path) -> None:
    job = harness.submit(["write", str(tmp_path / "ran"), "x"], ["sleep", 1])
    harness.reach(job.id, JobState.RUNNING)
    command = [
        sys.executable,
        "-m",
        "ilab_jupyter.jobs.attempt.supervisor",
        str(state),
        job.id,
        "1",
        token(harness, job.id),
    ]
    assert subprocess.run(command, timeout=60).returncode == 0
    assert harness.end(job.id).state is JobState.SUCCEEDED
    assert (tmp_path / "ran").read_text() == "x"
