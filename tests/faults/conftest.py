"""Repetitions and figures of each fault, and servers that tests kill.

`make faults` (`--faults=full`, or ILAB_FAULTS=full) does each fault as often as docs/reliability.md says;
without it, each is done a few times. Test files are named after their fault: test_f01_... is F1.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.attempt.process import Identity, with_argument
from tests.faults.figures import FAULT, Figures, Sheet
from tests.faults.pool import Pool
from tests.support.waiting import until

HERE = Path(__file__).parent
FIGURES = pytest.StashKey[Figures]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", choices=("small", "full"), help="how often each fault is done")
    parser.addoption("--figures", type=Path, help="a JSON file for the figures of the faults")


def pytest_configure(config: pytest.Config) -> None:
    wanted = config.getoption("--faults", None) or os.environ.get("ILAB_FAULTS", "small")
    config.stash[FIGURES] = Figures(full=wanted == "full")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """No timeout for the full number."""
    if config.stash[FIGURES].full:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.timeout(0), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if HERE in item.path.parents and re.match(FAULT, item.path.name):
        sheet = item.config.stash[FIGURES].of(item.path)
        sheet.seconds += report.duration
        sheet.tests += report.when == "call" or (report.when == "setup" and not report.passed)
        sheet.failed += report.failed
        sheet.skipped += report.skipped
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Merge the counts of a test process that has ended."""
    node.config.stash[FIGURES].merge(getattr(node, "workeroutput", {}).get("faults", []))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        sheets = session.config.stash[FIGURES].sheets.values()
        session.config.workeroutput["faults"] = [asdict(sheet) for sheet in sheets]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    figures = config.stash[FIGURES]
    if figures.sheets:
        terminalreporter.section(f"faults, {'full' if figures.full else 'small'} number")
        for line in figures.lines():
            terminalreporter.write_line(line)
    if figures.sheets and (path := config.getoption("--figures", None)):
        figures.write(path)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Sheet:
    """Sheet for the figures of a fault, filled during the test so that a failure shows them too.

    `add(kills=1, lost=0)`, `most(end_seconds=1.2)`, `put(backend="sqlite")`.
    """
    return request.config.stash[FIGURES].of(request.path)


@pytest.fixture
def count(request: pytest.FixtureRequest, figures: Sheet) -> Callable[..., int]:
    """`count(ci=5, full=100)`: number of repetitions in this run. It is added to the fault's n unless
    `adds=False`."""

    def choose(ci: int, full: int, adds: bool = True) -> int:
        n = full if request.config.stash[FIGURES].full else ci
        figures.n += n if adds else 0
        return n

    return choose


SERVER = """
import sys, time
from pathlib import Path
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import JobSpec
from ilab_jupyter.jobs.sync import SyncJobs
local = LocalJobs(Path(sys.argv[1]), worker_module="scripted")
jobs = SyncJobs(local)
def submit(*do, **spec):
    job = jobs.submit(JobSpec(kind="train", arguments={"do": list(do)}, **spec))
    print(job.id, flush=True)
"""


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool()
    yield pool
    pool.clean()


class Servers:
    """Processes with a separate service on the state folder that run a piece of code."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, code: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER + code, str(self._state)], stdout=subprocess.PIPE, text=True
        )
        self._processes.append(process)
        return process

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def servers(harness: Any, state: Path) -> Iterator[Servers]:
    servers = Servers(state)
    yield servers
    servers.end()


@pytest.fixture
def wait() -> Callable[..., Any]:
    return until  # type: ignore[no-any-return]


@pytest.fixture
def running(harness: Any, tmp_path: Path) -> Callable[..., Any]:
    """Submit a job and return it once its worker has done all steps before a long sleep."""

    def start(*do: Any) -> Any:
        ready = tmp_path / f"ready-{time.monotonic_ns()}"
        job = harness.submit(*do, ["print", "ready"], ["write", str(ready), "x"], ["sleep", 60])
        until(ready.exists)
        return harness.jobs.get(job.id)

    return start


@pytest.fixture
def abandon(harness: Any) -> Callable[[str], None]:
    """Kill a job's supervisor and guardian at once, so that no process is left to clean up."""

    def kill(id: str) -> None:
        pids = with_argument(harness.local._store.get(id).token)
        assert len(pids) == 2
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                os.kill(pid, number)
        until(lambda: not any(Identity.of(pid) for pid in pids))

    return kill
