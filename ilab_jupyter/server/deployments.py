"""Served models: which there are, start one, stop one. A deployment is a `serve` job."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from ilab_jupyter.errors import NotFound
from ilab_jupyter.kinds.catalog import job_spec
from ilab_jupyter.server.jobs import JobHandler
from ilab_jupyter.server.wire import DeploymentList


class DeploymentsHandler(JobHandler):
    """ilab/api/deployments"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The models that are served, or about to be."""
        from ilab_jupyter.client.inference import deployments

        self.answer(DeploymentList(deployments=await deployments(await self.services.jobs())))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Serve a model: the body is the arguments of a `serve` job."""
        spec = job_spec("serve", self.json_body(), strict=True)
        jobs = await self.services.jobs()
        self.accept(await jobs.submit(spec, key=self.idempotency_key()))


class DeploymentHandler(JobHandler):
    """ilab/api/deployments/{id}"""

    @web.authenticated
    @authorized
    async def delete(self, id: str) -> None:
        """Stop serving."""
        jobs = await self.services.jobs()
        if (await jobs.get(id)).kind != "serve":
            raise NotFound("There is no such deployment.", "See ilab/api/deployments.")
        self.accept(await jobs.cancel(id))
