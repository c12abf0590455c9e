"""Operations: the queue, attempts, search in logs, pruning, the audit."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from ilab_jupyter.jobs.record import QueueState
from ilab_jupyter.server.base import IlabHandler
from ilab_jupyter.server.jobs import JobHandler
from ilab_jupyter.server.wire import (
    AttemptList,
    AuditList,
    AuditQuery,
    Move,
    Pause,
    Prune,
    SearchQuery,
)


class QueueHandler(IlabHandler):
    """ilab/api/queue"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The running and the waiting jobs."""
        self.answer(await (await self.services.jobs()).queue())


class QueueChangeHandler(IlabHandler):
    """Base of handlers that change the queue."""

    def moved(self, state: QueueState) -> None:
        """Return the state of the queue and run the scheduler at once."""
        if self.services.monitor is not None:
            self.services.monitor.wake()
        self.answer(state)


class PauseHandler(QueueChangeHandler):
    """ilab/api/queue/pause"""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Start nothing more until the queue is unpaused. Live jobs go on."""
        given = self.body_as(Pause)
        self.moved(await (await self.services.jobs()).pause(given.reason))


class UnpauseHandler(QueueChangeHandler):
    """ilab/api/queue/unpause"""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Start jobs again."""
        self.moved(await (await self.services.jobs()).unpause())


class MoveHandler(JobHandler):
    """ilab/api/jobs/{id}/move"""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:
        """Put a waiting job before another one of the same priority, or before all."""
        given = self.body_as(Move)
        self.accept(await (await self.services.jobs()).reorder(id, before=given.before))


class AttemptsHandler(IlabHandler):
    """ilab/api/jobs/{id}/attempts"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:
        """A job's attempts, the first one first."""
        self.answer(AttemptList(attempts=await (await self.services.jobs()).attempts(id)))


class SearchHandler(IlabHandler):
    """ilab/api/jobs/{id}/log/search"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:
        """Lines of a log that contain a text or match a pattern; the search takes at most two seconds."""
        given = self.query_as(SearchQuery)
        jobs = await self.services.jobs()
        self.answer(await jobs.search(id, given.pattern, **given.model_dump(exclude={"pattern"})))


class PruneHandler(IlabHandler):
    """ilab/api/prune"""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Remove old logs of ended attempts, or list what would be removed."""
        given = self.body_as(Prune)
        self.answer(await (await self.services.jobs()).prune(**given.model_dump()))


class AuditHandler(IlabHandler):
    """ilab/api/audit"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Who did what to which job, or to the queue, oldest first."""
        given = self.query_as(AuditQuery)
        jobs = await self.services.jobs()
        self.answer(AuditList(entries=await jobs.audit(after=given.after, limit=given.limit)))
