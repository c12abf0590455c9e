"""Jobs over HTTP: submit, list, get, cancel, resume."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.record import Job
from ilab_jupyter.kinds.catalog import job_spec
from ilab_jupyter.server.base import IlabHandler
from ilab_jupyter.server.wire import JobQuery, Submit


class JobHandler(IlabHandler):
    """Base of handlers of jobs."""

    def accept(self, job: Job) -> None:
        """Answer 202 with a changed job, and run the scheduler at once."""
        if self.services.monitor is not None:
            self.services.monitor.wake()
        self.answer(job, 202)

    def idempotency_key(self) -> str | None:
        """The header Idempotency-Key; InvalidInput where it is empty or longer than 255 characters."""
        key = self.request.headers.get("Idempotency-Key")
        if key is not None and not 0 < len(key) <= 255:
            raise InvalidInput(
                "The header Idempotency-Key is empty or too long.", "Send 1 to 255 characters."
            )
        return key


class JobsHandler(JobHandler):
    """ilab/api/jobs"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """A page of jobs, newest first."""
        query = self.query_as(JobQuery)
        jobs = await self.services.jobs()
        self.answer(await jobs.list(query.filter, cursor=query.cursor, limit=query.limit))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Submit a job. It is stored durably before the response."""
        payload = self.body_as(Submit)
        spec = job_spec(
            payload.kind,
            payload.arguments,
            name=payload.name,
            priority=payload.priority,
            resources=payload.resources,
            strict=True,
        )
        key = payload.key or self.idempotency_key()
        jobs = await self.services.jobs()
        self.accept(await jobs.submit(spec, key=key, secrets=payload.secrets))


class OneJobHandler(JobHandler):
    """ilab/api/jobs/{id}"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:
        """One job."""
        self.answer(await (await self.services.jobs()).get(id))

    @web.authenticated
    @authorized
    async def delete(self, id: str) -> None:
        """Remove an ended job with its logs, events and artifacts; 409 while it is queued or live."""
        self.answer(await (await self.services.jobs()).remove(id))


class CancelHandler(JobHandler):
    """ilab/api/jobs/{id}/cancel"""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:
        """Stop a job. A second call does nothing."""
        self.accept(await (await self.services.jobs()).cancel(id))


class ResumeHandler(JobHandler):
    """ilab/api/jobs/{id}/resume"""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:
        """A new attempt from the last checkpoint."""
        self.accept(await (await self.services.jobs()).resume(id))
