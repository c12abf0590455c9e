"""The life of a deployment: take a port, load the model, answer until a stop request, clean up."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from ilab_jupyter.durable import read_json, write_json
from ilab_jupyter.errors import Unavailable
from ilab_jupyter.progress import Reporter, Stopped
from ilab_jupyter.serving.answers import application
from ilab_jupyter.serving.engine import Engine
from ilab_jupyter.serving.handlers import Service
from ilab_jupyter.serving.loading import load

ADDRESS = "127.0.0.1"
MAX_BODY = 8 * 1024 * 1024
GRACE = 3.0
LOOK = 0.1
RELEASE_LOOK = 1.0


def serve(
    model_folder: Path,
    *,
    name: str,
    port: int,
    max_tokens: int,
    device: str,
    endpoint_file: Path | None,
    reporter: Reporter,
    idle_seconds: float = 60,
    release_file: Path | None = None,
) -> None:
    """Offer the model in `model_folder` as `name` on loopback until `reporter.stopping`, then raise Stopped.

    While `release_file` exists, a job waits for what this process has: after `idle_seconds`
    without a request and without an active answer, requests are refused, and it ends with Preempted.

    `endpoint_file` appears, readable by its owner only, once the server has answered its own health check,
    and goes when it ends; it holds host, port, key, model and pid. `max_tokens` bounds one answer; port 0 is
    a free one. Unavailable: the port is taken. NotFound and Unprocessable: as `loading.load`.
    """
    sockets = _listen(port)
    try:
        reporter.phase("loading", f"Loading {name}.")
        engine = Engine(load(model_folder, device=device))
        release = Release(release_file, idle_seconds)
        try:
            if not reporter.stopping:
                asyncio.run(_live(engine, sockets, name, max_tokens, endpoint_file, reporter, release))
        finally:
            engine.close()
    finally:
        for listening in sockets:
            listening.close()
    if release.granted:
        raise Preempted(
            f"{name} was idle and made room for {release.granted}.",
            "It loads again by itself once there is a place for it.",
        )
    raise Stopped


class Preempted(Unavailable):
    """The model was unloaded for a waiting job; another attempt loads it again."""

    cause = "preempted"


class Release:
    """Looks once a second whether a job waits for what this process has. `granted` is the one it goes for."""

    def __init__(self, file: Path | None, idle_seconds: float) -> None:
        self._file = file
        self._idle = idle_seconds
        self._looked = time.monotonic()
        self.granted = ""

    def due(self, service: Service) -> bool:
        """Whether to end now; from then on the service refuses requests."""
        if self._file is None or time.monotonic() - self._looked < RELEASE_LOOK:
            return False
        self._looked = time.monotonic()
        if not service.idle(self._idle) or (request := read_json(self._file)) is None:
            return False
        # No other request is handled between the look and this: both are one step of the event loop.
        service.leaving = True
        self.granted = str(request.get("for") or "a waiting job")
        return True


def _listen(port: int) -> list[socket.socket]:
    try:
        return bind_sockets(port, ADDRESS, family=socket.AF_INET)
    except OSError as error:
        raise Unavailable(
            f"Port {port} cannot be used: {error.strerror or error}.",
            "Choose another port, or 0 for a free one.",
            cause="port_taken",
        ) from None


async def _live(
    engine: Engine,
    sockets: list[socket.socket],
    name: str,
    max_tokens: int,
    endpoint_file: Path | None,
    reporter: Reporter,
    release: Release,
) -> None:
    port = int(sockets[0].getsockname()[1])
    service = Service(
        engine=engine,
        name=name,
        key=secrets.token_urlsafe(32),
        hosts=frozenset({f"{ADDRESS}:{port}", f"localhost:{port}"}),
        max_tokens=max_tokens,
    )
    server = HTTPServer(application(service), max_body_size=MAX_BODY, max_buffer_size=MAX_BODY + 65536)
    server.add_sockets(sockets)
    try:
        await _health(port, service.key)
        if endpoint_file is not None:
            _publish(endpoint_file, port, service)
        reporter.phase("serving", f"{name} answers on port {port}.")
        reporter.event("endpoint", model=name, port=port, ready=True)
        while not reporter.stopping and not release.due(service):  # noqa: ASYNC110
            await asyncio.sleep(LOOK)
        reporter.phase("stopping", "Finishing the answers in progress.")
    finally:
        if endpoint_file is not None:
            endpoint_file.unlink(missing_ok=True)
        server.stop()
        until = time.monotonic() + GRACE
        while service.active and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(LOOK)
        for handler in list(service.active):
            handler.on_connection_close()
        await server.close_all_connections()


async def _health(port: int, key: str) -> None:
    """One real request through the real door; Unavailable where it does not answer."""
    request = HTTPRequest(
        f"http://{ADDRESS}:{port}/health", headers={"Authorization": f"Bearer {key}"}, request_timeout=10
    )
    try:
        await AsyncHTTPClient(force_instance=True).fetch(request)
    except Exception as error:
        raise Unavailable(
            f"The server does not answer its own health check: {error}.",
            "Read the job's log.",
            cause="unhealthy",
        ) from error


def _publish(path: Path, port: int, service: Service) -> None:
    body = {
        "host": ADDRESS,
        "port": port,
        "key": service.key,
        "model": service.name,
        "pid": os.getpid(),
    }
    write_json(path, body)
