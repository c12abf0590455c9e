"""Version, health, machine and job kinds of this server."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from ilab_jupyter import __version__
from ilab_jupyter.kinds.catalog import KINDS
from ilab_jupyter.server.base import IlabHandler
from ilab_jupyter.server.wire import Info, KindEntry, KindList


class InfoHandler(IlabHandler):
    """ilab/api/info"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Name, version and the number of this API."""
        self.answer(Info(version=__version__))


class HealthHandler(IlabHandler):
    """ilab/api/health"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """200 where the service works (`ok` or `degraded`), 503 where it does not (`failing`)."""
        health = await self.services.health.now()
        text = health.model_dump_json().replace(str(self.services.state_dir), "[state folder]")
        self.set_status(503 if health.status == "failing" else 200)
        self.finish(text)


class SystemHandler(IlabHandler):
    """ilab/api/system"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The machine's processors, memory, disk and GPUs, at most two seconds old."""
        self.answer(await self.services.machine.now())


class KindsHandler(IlabHandler):
    """ilab/api/kinds"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The kinds of job, each with the JSON Schema of its arguments."""
        self.answer(
            KindList(
                kinds=[
                    KindEntry(
                        name=kind.name,
                        title=kind.title,
                        summary=kind.summary,
                        queue=kind.queue,
                        positional=[argument.name for argument in kind.positional],
                        examples=[f"%ilab {example}" for example in kind.examples],
                        arguments=kind.spec.model_json_schema(),
                    )
                    for kind in KINDS.values()
                ]
            )
        )
