"""The services that handlers use: jobs, registry, job monitor and limits. Slow imports are deferred.

An idle server does not open the store: a look at its file shows whether there is work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilab_jupyter.errors import InvalidInput, PublicError, TooMany, Unavailable
from ilab_jupyter.jobs.folder import StateFolder
from ilab_jupyter.jobs.store.change_probe import ChangeProbe
from ilab_jupyter.server.audit import AuditTrail

if TYPE_CHECKING:
    import httpx

    from ilab_jupyter.jobs.local import LocalJobs
    from ilab_jupyter.registry.datasets import Datasets
    from ilab_jupyter.registry.models import Models
    from ilab_jupyter.server.health import HealthView
    from ilab_jupyter.server.machine import MachineView
    from ilab_jupyter.server.monitor import JobMonitor

SILENCE_SECONDS = 600.0  # a model may think this long between two pieces of an answer


class ConcurrencyLimit:
    """Limits how many streams or requests run at once, and ends them when the server stops."""

    def __init__(self, limit: int, what: str) -> None:
        self.limit = limit
        self.what = what
        self._inside: set[asyncio.Future[None]] = set()

    def acquire(self) -> asyncio.Future[None]:
        """A future, for `release`, that is done when the holder must end; TooMany at the limit."""
        if len(self._inside) >= self.limit:
            raise TooMany(f"{self.limit} {self.what} are open already.", "Close one, or try again later.")
        ticket = asyncio.get_running_loop().create_future()
        self._inside.add(ticket)
        return ticket

    @property
    def inside(self) -> int:
        """How many are open now."""
        return len(self._inside)

    def release(self, ticket: asyncio.Future[None]) -> None:
        """The holder has ended. Twice is harmless."""
        self._inside.discard(ticket)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[asyncio.Future[None]]:
        """`acquire` and `release` around a block."""
        ticket = self.acquire()
        try:
            yield ticket
        finally:
            self.release(ticket)

    def end_all(self) -> None:
        """Signal every holder to end."""
        for ticket in self._inside:
            if not ticket.done():
                ticket.set_result(None)


class Services:
    """One per server, in `settings["ilab"]`. `always_open`: the store has to be opened to look at it."""

    def __init__(
        self,
        *,
        state_dir: Path,
        open_jobs: Callable[[], LocalJobs],
        emit_audit: Callable[[dict[str, Any]], None],
        slots: Mapping[str, int],
        grace_seconds: float | None,
        resume_at_start: bool,
        always_open: bool,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
        max_streams: int,
        max_completions: int,
    ) -> None:
        self.state_dir = state_dir
        self.log = log
        self.streams = ConcurrencyLimit(max_streams, "live streams")
        self.completions = ConcurrencyLimit(max_completions, "requests to served models")
        self.monitor: JobMonitor | None = None
        self.audit = AuditTrail(emit_audit, log)
        self.opened: LocalJobs | None = None
        self._open_jobs = open_jobs
        self._slots = slots
        self._grace_seconds = grace_seconds
        self._resume_at_start = resume_at_start
        self._always_open = always_open
        self._probe = ChangeProbe(StateFolder(state_dir.absolute()))
        self._opening = asyncio.Lock()
        self._complaint = ""
        self._upstream: httpx.AsyncClient | None = None

    async def jobs(self) -> LocalJobs:
        """The job service. Unavailable while the state folder cannot be used; the next call tries again."""
        if self.opened is None:
            async with self._opening:
                if self.opened is None:
                    self.opened = await asyncio.to_thread(self._open)
        return self.opened

    def changed(self) -> bool:
        """Whether the store may have been written since the last call; True at first."""
        return self._always_open or self._probe.changed()

    async def needed(self) -> bool:
        """Whether the store must be opened though no request wants it: a job is queued or live, or was
        interrupted and is to go on, the administrator's settings are not stored yet, or there is trouble that
        has to be said."""
        if self._always_open:
            return True
        seen = await asyncio.to_thread(self._probe.run)
        if seen.interrupted and self._resume_at_start:
            return True
        return seen.pending or seen.problem or not seen.settings_match(self._slots, self._grace_seconds)

    def _open(self) -> LocalJobs:
        try:
            jobs = self._open_jobs()
            for advice in jobs.advice:
                self.log.warning("%s", advice)
            return jobs
        except Exception as error:
            expected = isinstance(error, PublicError | OSError)
            if (complaint := f"{type(error).__name__}: {error}") != self._complaint:
                self._complaint = complaint
                self.log.error(
                    "The job store in %s cannot be opened: %s", self.state_dir, error, exc_info=not expected
                )
            if isinstance(error, InvalidInput):
                # The administrator wrote it, not the caller.
                raise Unavailable(error.message, error.hint, cause="configuration") from error
            if isinstance(error, PublicError):
                raise
            raise Unavailable(
                "The job store cannot be opened.",
                "The Jupyter server's log names the folder and the problem; "
                "IlabApp.state_dir chooses another folder.",
                cause="state_folder",
            ) from error

    def upstream(self) -> httpx.AsyncClient:
        """The client that speaks to served models: loopback only, no proxy, no redirect, no cookie kept."""
        if self._upstream is None:
            import ssl
            from http.cookiejar import CookieJar, DefaultCookiePolicy

            import httpx

            self._upstream = httpx.AsyncClient(
                trust_env=False,
                # Plain HTTP only: no certificate is trusted, and none need be loaded.
                verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                # One client serves all callers and models, so a cookie would pass from one to another.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                timeout=httpx.Timeout(SILENCE_SECONDS, connect=5.0),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=8),
            )
        return self._upstream

    async def interrupt(self) -> None:
        """Let live jobs save their work and end, because they cannot outlive this server."""
        if self.opened is None and not self._always_open:
            seen = await asyncio.to_thread(self._probe.run)
            if not seen.pending:
                return
        try:
            jobs = await self.jobs()
            self.log.info(
                "ilab_jupyter: live jobs are requested to save their work and stop with this server"
            )
            ended = await asyncio.to_thread(jobs.interrupt)
        except (PublicError, OSError) as error:
            self.log.error("ilab_jupyter: live jobs could not be stopped: %s", error)
            return
        for job in ended:
            self.log.info("ilab_jupyter: %s is %s (%s)", job.id, job.state, job.cause or "it goes on")

    async def close(self, *, interrupt: bool = False) -> None:
        """End what is open here; with `interrupt` the live jobs first. Otherwise they go on."""
        if self.monitor is not None:
            await self.monitor.stop()
        if interrupt:
            await self.interrupt()
        self.streams.end_all()
        self.completions.end_all()
        if self._upstream is not None:
            await self._upstream.aclose()
        if self.opened is not None:
            await asyncio.to_thread(self.opened.close)

    @cached_property
    def machine(self) -> MachineView:
        """The machine as it is now."""
        from ilab_jupyter.server.machine import MachineView

        return MachineView(self.state_dir)

    @cached_property
    def health(self) -> HealthView:
        """The health checks."""
        from ilab_jupyter.server.health import HealthView

        return HealthView(self.jobs, self.machine)

    @property
    def models(self) -> Models:
        """The models on disk."""
        from ilab_jupyter.registry.models import Models

        return Models()

    @property
    def datasets(self) -> Datasets:
        """The datasets on disk."""
        from ilab_jupyter.registry.datasets import Datasets

        return Datasets()
