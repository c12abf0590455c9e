"""Client of served models: list them, find an endpoint, send a chat request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path, PurePath
from typing import Any, Protocol

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ilab_jupyter.client.deployment import Deployment
from ilab_jupyter.errors import NotFound, PublicError, Unavailable
from ilab_jupyter.jobs.record import Job, JobFilter
from ilab_jupyter.jobs.service import JobService
from ilab_jupyter.jobs.state import JobState

ENDPOINT_FILE = "endpoint.json"
NOT_ENDED = tuple(state for state in JobState if not state.ended)
LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Between tokens a model may work long, and others may be before us in its queue.
TIMEOUT = httpx.Timeout(600.0, connect=5.0)


class Endpoint(BaseModel):
    """Address and API key of a served model. It stays in the owner's processes."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: int = Field(ge=1, le=65535)
    key: str = Field(repr=False)
    model: str

    @property
    def url(self) -> str:
        """The base URL of its OpenAI API."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/v1"


class HasFolder(Protocol):
    """Jobs on this machine's disk."""

    def folder(self, id: str) -> Path:
        """The folder of a job."""


def read_endpoint(folder: Path) -> Endpoint | None:
    """The endpoint that the job in `folder` published; None while there is none on this machine."""
    try:
        found = Endpoint.model_validate_json((folder / ENDPOINT_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.host in LOOPBACK else None


async def deployments(jobs: JobService) -> list[Deployment]:
    """All serve jobs that have not ended, newest first."""
    found: list[Job] = []
    cursor: str | None = None
    while True:
        page = await jobs.list(JobFilter(kinds=("serve",), states=NOT_ENDED), cursor=cursor, limit=100)
        found += page.jobs
        cursor = page.cursor
        if cursor is None:
            break
    return list(await asyncio.gather(*(_deployment(jobs, job) for job in found)))


async def _deployment(jobs: JobService, job: Job) -> Deployment:
    arguments = job.spec.arguments
    name = str(arguments.get("name") or PurePath(str(arguments.get("model") or job.name)).name)
    ready = False
    if job.state is JobState.RUNNING:
        after = 0
        while events := await jobs.events(job.id, after=after):
            after = events[-1].seq
            for event in events:
                fields = event.fields
                if event.type == "endpoint" and fields.get("attempt", job.attempt) == job.attempt:
                    ready = bool(fields.get("ready"))
                    name = str(fields.get("model") or name)
    return Deployment(
        id=job.id,
        model=name,
        state=job.state,
        ready=ready,
        created_at=job.created_at,
        message=job.pending_reason or job.progress.message or "",
        job=job,
    )


async def find(jobs: JobService, model: str | None = None) -> Deployment:
    """The newest ready deployment of `model`, of any model where None; the name or id of its job works too.

    Unavailable with cause `loading` while it is not ready yet; NotFound where nothing serves it.
    """
    known = [one for one in await deployments(jobs) if model is None or _is_called(one, model)]
    for one in known:
        if one.ready:
            return one
    coming = [one for one in known if one.state is not JobState.STOPPING]
    if coming:
        waits = f"{coming[0].message} It loads by itself; try again then."
        raise Unavailable(
            f"{coming[0].model} is still loading (job {coming[0].id}, {coming[0].state}).",
            waits if coming[0].state is JobState.QUEUED else "Wait a moment and try again.",
            cause="loading",
        )
    what = "No model is served" if model is None else f"No model {model[:128]!r} is served"
    raise NotFound(f"{what}.", f"Serve it first: %ilab serve {'MODEL' if model is None else model[:128]}")


def _is_called(deployment: Deployment, name: str) -> bool:
    job = deployment.job
    return name in (deployment.model, job.id) or (name == job.name != job.kind)


def endpoint_of(jobs: HasFolder, deployment: Deployment) -> Endpoint:
    """Where a deployment on this machine answers; Unavailable where it has just gone."""
    endpoint = read_endpoint(jobs.folder(deployment.id))
    if endpoint is None:
        raise Unavailable(
            f"{deployment.model} has stopped answering.", f"See its log: %ilab logs {deployment.id}"
        )
    return endpoint


async def stream_chat(
    jobs: Any, model: str | None, messages: Sequence[Mapping[str, str]], **options: Any
) -> AsyncGenerator[str, None]:
    """The answer's text, piece by piece. `options` are fields of chat/completions, such as temperature.

    Jobs on this machine are called at their own address, those of a service (an object with `v1_url` and
    `headers`) through it. Leaving the iteration ends the generation. Errors of the model are PublicError.
    """
    deployment = await find(jobs, model)
    if hasattr(jobs, "v1_url"):
        url, headers = str(jobs.v1_url), dict(jobs.headers)
    else:
        endpoint = endpoint_of(jobs, deployment)
        url, headers = endpoint.url, {"Authorization": f"Bearer {endpoint.key}"}
    body = {**options, "model": deployment.model, "messages": list(messages), "stream": True}
    # A proxy from the environment must never see the key of a loopback address.
    client = httpx.AsyncClient(timeout=TIMEOUT, trust_env=hasattr(jobs, "v1_url"), follow_redirects=False)
    async with client:
        try:
            request = client.stream("POST", f"{url}/chat/completions", json=body, headers=headers)
            async with request as response:
                if response.status_code != 200:
                    raise _refusal(response.status_code, await response.aread())
                async with aclosing(_pieces(response)) as pieces:
                    async for piece in pieces:
                        yield piece
        except httpx.HTTPError as error:
            raise Unavailable(
                f"{deployment.model} does not answer ({type(error).__name__}).",
                f"See its log: %ilab logs {deployment.id}",
            ) from error


async def _pieces(response: httpx.Response) -> AsyncGenerator[str, None]:
    async for line in response.aiter_lines():
        if not line.startswith("data:"):
            continue
        data = line[len("data:") :].strip()
        if data == "[DONE]":
            return
        try:
            event = json.loads(data)
            if "error" in event:
                raise _refusal(500, data.encode())
            for choice in event["choices"]:
                if text := choice["delta"].get("content"):
                    yield text
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Unavailable("The model sent something that is not an answer.", "See its log.") from None
    raise Unavailable("The response ended early.", "See the log of the serve job.", cause="broken_off")


def _refusal(status: int, body: bytes) -> PublicError:
    try:
        detail = json.loads(body)["error"]
        message, cause = str(detail["message"]), str(detail.get("code") or "model_failed")
    except (ValueError, KeyError, TypeError, AttributeError):
        message, cause = f"The model answered with status {status}.", "model_failed"
    error = PublicError(message[:2000], cause=cause)
    error.status = status
    return error
