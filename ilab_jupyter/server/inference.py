"""The OpenAI-compatible API of served models: a proxy to one fixed loopback address per model."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized
from tornado import web
from tornado.iostream import StreamClosedError

from ilab_jupyter.errors import NotFound, PublicError, Unavailable
from ilab_jupyter.server.base import IlabHandler
from ilab_jupyter.server.openai_wire import (
    ChatRequest,
    CompletionRequest,
    Sampling,
    ServedModel,
    ServedModelList,
)

if TYPE_CHECKING:
    import httpx

    from ilab_jupyter.client.inference import Endpoint

PASSED_BACK = ("Content-Type", "Retry-After")
MAX_PROMPT = 4 * 1024 * 1024


class UpstreamFailed(PublicError):
    """The served model's process sent an invalid response."""

    status = 502
    cause = "model_failed"


class OpenAIHandler(IlabHandler):
    """Base of handlers that answer errors in OpenAI's form, so that its client raises the right exception."""

    max_body = MAX_PROMPT

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """{"error": {message, type, param, code}}"""
        self.set_error_headers(status_code)
        problem = self.problem(status_code, (kwargs.get("exc_info") or (None, None))[1])
        kind = "invalid_request_error" if status_code < 500 else "server_error"
        message = f"{problem.message} {problem.hint}".strip()
        body = {"message": message, "type": kind, "param": None, "code": problem.code}
        self.finish(json.dumps({"error": body}))


class ServedModelsHandler(OpenAIHandler):
    """ilab/v1/models"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The models that answer now."""
        from ilab_jupyter.client.inference import deployments

        ready = await deployments(await self.services.jobs())
        self.answer(
            ServedModelList(
                data=[
                    ServedModel(id=one.model, created=int(one.job.created_at.timestamp()))
                    for one in ready
                    if one.ready
                ]
            )
        )


class ServedModelHandler(OpenAIHandler):
    """ilab/v1/models/{name}"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, name: str) -> None:
        """One model that answers now."""
        from ilab_jupyter.client.inference import deployments

        for one in await deployments(await self.services.jobs()):
            if one.ready and one.model == name:
                self.answer(ServedModel(id=one.model, created=int(one.job.created_at.timestamp())))
                return
        raise NotFound(f"No model {name[:128]!r} is served.", "See those that are at ilab/v1/models.")


class ProxyHandler(OpenAIHandler):
    """Forwards a validated body to the model that it names, and streams the response back."""

    upstream_path = ""
    request_model: type[Sampling]
    _forwarding: asyncio.Task[None] | None = None

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """The model's response, streamed; generation stops when the client disconnects."""
        from ilab_jupyter.client.inference import endpoint_of, find

        payload = self.body_as(self.request_model)
        jobs = await self.services.jobs()
        # The address comes from the job's own folder and is loopback, whatever the request says.
        endpoint = await asyncio.to_thread(endpoint_of, jobs, await find(jobs, payload.model))
        async with self.services.completions.one() as ticket:
            self._forwarding = asyncio.create_task(self._forward(endpoint, payload))
            ticket.add_done_callback(lambda _: self._stop())
            with suppress(asyncio.CancelledError, StreamClosedError):
                await self._forwarding

    def on_connection_close(self) -> None:
        """Stop the generation: the client has disconnected."""
        super().on_connection_close()
        self._stop()

    def _stop(self) -> None:
        if self._forwarding is not None:
            self._forwarding.cancel()

    async def _forward(self, endpoint: Endpoint, payload: Sampling) -> None:
        import httpx

        client = self.services.upstream()
        # Only the validated body and these headers are forwarded: the caller's cookie and token are for this
        # server, not for the model.
        request = client.build_request(
            "POST",
            f"{endpoint.url}/{self.upstream_path}",
            content=payload.model_dump_json(exclude_unset=True).encode(),
            headers={
                "X-Request-Id": self.request_id,
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
                "Authorization": f"Bearer {endpoint.key}",
            },
        )
        try:
            response = await client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise Unavailable("The model does not answer.", "See its log; serve it again.") from error
        try:
            await self._stream_back(response)
        except httpx.HTTPError as error:
            # After the first byte, only a closed connection shows that the response is incomplete.
            self.log.warning(
                "A served model closed the connection during a response: %s", type(error).__name__
            )
            if not self._headers_written:
                raise UpstreamFailed(
                    "The model closed the connection during the response.", "See its log."
                ) from error
            self.detach().close()
        finally:
            await response.aclose()

    async def _stream_back(self, response: httpx.Response) -> None:
        # 503: the model is being unloaded for a waiting job; Retry-After is forwarded.
        if response.status_code in (401, 403) or not (
            200 <= response.status_code < 300
            or 400 <= response.status_code < 500
            or response.status_code == 503
        ):
            raise UpstreamFailed(f"The model answered with status {response.status_code}.", "See its log.")
        self.set_status(response.status_code)
        for name in PASSED_BACK:
            if name in response.headers:
                self.set_header(name, response.headers[name])
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Accel-Buffering", "no")
        async for piece in response.aiter_raw():
            self.write(piece)
            await self.flush()
        content_type = response.headers.get("Content-Type", "application/json")
        await self.finish(set_content_type=content_type)


class ChatHandler(ProxyHandler):
    """ilab/v1/chat/completions"""

    upstream_path = "chat/completions"
    request_model = ChatRequest


class CompletionsHandler(ProxyHandler):
    """ilab/v1/completions"""

    upstream_path = "completions"
    request_model = CompletionRequest


class UnknownOpenAIHandler(OpenAIHandler):
    """Any other address below ilab/v1."""

    async def prepare(self) -> None:  # type: ignore[override]
        """Raise NotFound for every method, after the usual authorization."""
        await super().prepare()
        if self.request.method != "OPTIONS":
            raise NotFound("There is nothing at this address.", "See the addresses in ilab/api/docs.")
