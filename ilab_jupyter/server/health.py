"""The health of the service; concurrent requests share one run of the checks."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ilab_jupyter.errors import PublicError
from ilab_jupyter.hardware import ENGINE_LIBRARIES, Machine
from ilab_jupyter.jobs.health import Finding
from ilab_jupyter.kinds.catalog import KINDS
from ilab_jupyter.server.wire import Check, Health

if TYPE_CHECKING:
    from ilab_jupyter.jobs.local import LocalJobs
    from ilab_jupyter.server.machine import MachineView

LIMIT_SECONDS = 2.0
_FRESH_SECONDS = 600.0
_LOOK = (
    "import importlib.metadata as m, sys\n"
    "def missing(name):\n"
    "    try: m.version(name)\n"
    "    except m.PackageNotFoundError: return True\n"
    "print(','.join(name for name in sys.argv[1:] if missing(name)))"
)


class HealthView:
    """Runs the checks in one thread at a time, so that a hanging disk blocks only one."""

    def __init__(self, jobs: Callable[[], Awaitable[LocalJobs]], machine: MachineView) -> None:
        self._jobs = jobs
        self._machine = machine
        self._looking: asyncio.Task[tuple[list[Finding], int]] | None = None
        self._engines: dict[str, tuple[float, float, Finding]] = {}
        self._gpus: frozenset[str] = frozenset()

    async def now(self) -> Health:
        """Every check, at most `LIMIT_SECONDS` later."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            findings, live = await asyncio.wait_for(asyncio.shield(self._looking), LIMIT_SECONDS)
        except TimeoutError:
            late = f"The checks were not finished within {LIMIT_SECONDS:.0f} s."
            step = "The disk of the state folder or a driver hangs: look at the system's log."
            findings, live = [Finding("time", False, late, step, serious=True, cause="too_slow")], 0
        return _health(findings, live)

    async def _look(self) -> tuple[list[Finding], int]:
        try:
            jobs = await self._jobs()
        except PublicError as error:
            trouble = Finding("store", False, error.message, error.hint, serious=True, cause=error.cause)
            return [trouble], 0
        findings, live = await asyncio.to_thread(self._engine, jobs)
        return [*findings, self._devices(await self._machine.now())], live

    def _engine(self, jobs: LocalJobs) -> tuple[list[Finding], int]:
        findings = jobs.health()
        for python in sorted({jobs.interpreter(kind) for kind in KINDS}):
            findings.append(self._worker(python))
        try:
            return findings, jobs.active()
        except PublicError:
            return findings, 0

    def _worker(self, python: str) -> Finding:
        try:
            made = Path(python).stat().st_mtime
        except OSError:
            made = 0.0
        known = self._engines.get(python)
        now = time.monotonic()
        if known is None or known[1] != made or now - known[0] > _FRESH_SECONDS:
            known = self._engines[python] = (now, made, worker(python, ENGINE_LIBRARIES))
        return known[2]

    def _devices(self, machine: Machine) -> Finding:
        there = frozenset(gpu.uuid for gpu in machine.gpus)
        self._gpus |= there
        if gone := sorted(self._gpus - there):
            return Finding(
                "gpus",
                False,
                f"{len(gone)} of {len(self._gpus)} GPUs can no longer be read: {', '.join(gone[:8])}.",
                "Look at `nvidia-smi` and the system's log for Xid errors; the machine may need a restart.",
                cause="gpu_lost",
            )
        return Finding("gpus", True, f"{len(there)} GPUs." if there else machine.gpu_message)


def worker(python: str, libraries: Sequence[str]) -> Finding:
    """Whether an interpreter has the engine's libraries."""
    advice = "Install them there: pip install 'ilab-jupyter[engine]'; or set worker_python."
    try:
        done = subprocess.run(
            [python, "-P", "-c", _LOOK, *libraries], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        said = "The interpreter for jobs does not run."
        return Finding(
            "engine", False, said, "Name a Python that does in worker_python.", cause="worker_python"
        )
    if missing := done.stdout.strip():
        said = f"The interpreter for jobs lacks {missing.replace(',', ', ')}."
        return Finding("engine", False, said, advice, cause="engine_missing")
    return Finding("engine", True, "The interpreter for jobs has the engine's libraries.")


def _health(findings: Sequence[Finding], live: int) -> Health:
    checks = [Check(name=one.name, ok=one.ok, message=one.message, hint=one.hint) for one in findings]
    wrong = sorted((one for one in findings if not one.ok), key=lambda one: not one.serious)
    if not wrong:
        return Health(status="ok", live=live, checks=checks)
    worst = wrong[0]
    return Health(
        status="failing" if worst.serious else "degraded",
        live=live,
        checks=checks,
        code=worst.cause or worst.name,
        message=worst.message,
        hint=worst.hint,
    )
