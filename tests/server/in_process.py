"""A Jupyter server with the extension in this process, on the event loop of the tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jupyter_core.paths
import pytest
from jupyter_server.auth import Authorizer
from jupyter_server.serverapp import ServerApp
from tornado.httpclient import HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.websocket import WebSocketClientConnection, websocket_connect
from traitlets.config import Config

from ilab_jupyter.jobs.record import JobFilter
from ilab_jupyter.jobs.state import JobState
from tests.support.interpreter import make_interpreter
from tests.support.waiting import until_async

BASE_URL = "/a%40b/"
PROBLEM = {"status", "code", "message", "hint", "request_id"}
NOT_ENDED = JobFilter(states=tuple(state for state in JobState if not state.ended))


class Recorder(Authorizer):
    """Allows every request or none, and records each authorization request."""

    requests: list[tuple[str, str, str]] = []
    allow = True

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        self.requests.append((action, resource, handler.request.path))
        return self.allow

    @classmethod
    def reset(cls) -> None:
        """Forget what was recorded and allow every request."""
        cls.requests = []
        cls.allow = True


class Server:
    """A running server, and clients that hold its token."""

    def __init__(self, app: ServerApp, port: int, folder: Path) -> None:
        self.app = app
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}{BASE_URL}"
        self.token: str = app.identity_provider.token
        self.http = self.client()
        self.kept: set[str] = set()  # jobs that more than one test uses

    def client(self, **options: Any) -> httpx.AsyncClient:
        """A client that holds the token and no cookies."""
        headers = {"Authorization": f"token {self.token}"}
        return httpx.AsyncClient(
            **{"base_url": self.url, "headers": headers, "timeout": 20, "verify": False, **options}
        )

    @property
    def extension(self) -> Any:
        return self.app.extension_manager.extension_points["ilab_jupyter"].app

    @property
    def services(self) -> Any:
        return self.app.web_app.settings["ilab"]

    async def submit(self, *todo: str, **more: Any) -> str:
        body = {"kind": "train", "arguments": {"data": list(todo) or ["print:hello"]}, **more}
        answer = await self.http.post("ilab/api/jobs", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def state(self, id: str) -> str:
        return str((await self.http.get(f"ilab/api/jobs/{id}")).json()["state"])

    async def ended(self, id: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            job = (await self.http.get(f"ilab/api/jobs/{id}")).json()
            return job if job["ended_at"] else None

        return await until_async(look)

    async def job_ids(self) -> list[str]:
        """The newest 500 jobs."""
        jobs = (await self.http.get("ilab/api/jobs?limit=500")).json()["jobs"]
        return [job["id"] for job in jobs]

    async def websocket(
        self, path: str = "ilab/api/stream", headers: dict[str, str] | None = None
    ) -> WebSocketClientConnection:
        """A WebSocket to `path`; with the token unless `headers` has its own `Authorization`."""
        request = HTTPRequest(
            self.url.replace("http", "ws", 1) + path,
            headers={"Authorization": f"token {self.token}", **(headers or {})},
            connect_timeout=120,
        )
        return await websocket_connect(request)

    def discloses_path(self, text: str) -> bool:
        """Whether the text names the folder of this server."""
        return str(self.folder) in text

    async def leave(self) -> None:
        """Close the client, and end every stream and job."""
        await self.http.aclose()
        self.services.streams.end_all()
        self.services.completions.end_all()
        if self.services.opened is not None:
            for id in await self._not_ended():
                await self.services.opened.cancel(id)

    async def prepare_next_test(self) -> None:
        """End what a test left behind, so that the next one finds no stream, live job, cookie or record."""
        await self.leave()
        await until_async(self._closed)
        if self.services.opened is not None:
            await until_async(self._ended)
        self.http = self.client()
        Recorder.reset()

    async def _closed(self) -> bool:
        return not self.services.streams.inside and not self.services.completions.inside

    async def _not_ended(self) -> list[str]:
        page = await self.services.opened.list(NOT_ENDED, limit=100)
        return [job.id for job in page.jobs if job.id not in self.kept]

    async def _ended(self) -> bool:
        return not await self._not_ended()


@contextmanager
def isolated_jupyter(folder: Path) -> Iterator[None]:
    """Jupyter's and this project's folders below `folder`, as long as a server runs."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, path in {
            "HOME": "home",
            "XDG_CONFIG_HOME": "home/.config",
            "XDG_DATA_HOME": "home/.local/share",
            "XDG_CACHE_HOME": "home/.cache",
            "XDG_STATE_HOME": "home/.local/state",
            "ILAB_JUPYTER_STATE": "state",
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
        }.items():
            patch.setenv(variable, str(folder / path))
        for variable in ("ILAB_JUPYTER_WORKER_PYTHON", "ILAB_JUPYTER_DATABASE_URL"):
            patch.delenv(variable, raising=False)
        patch.setenv("HF_HUB_OFFLINE", "1")
        for name in ("SYSTEM_JUPYTER_PATH", "ENV_JUPYTER_PATH", "SYSTEM_CONFIG_PATH", "ENV_CONFIG_PATH"):
            patch.setattr(jupyter_core.paths, name, [str(folder / name.lower())])
        for name in ("home", "runtime", "root"):
            (folder / name).mkdir()
        yield


@contextmanager
def running(
    loop: asyncio.AbstractEventLoop,
    folder: Path,
    *,
    python: Path | None = None,
    ilab: dict[str, Any] | None = None,
    server: dict[str, Any] | None = None,
) -> Iterator[Server]:
    """A server on `folder`, with settings of the extension (`ilab`) and of Jupyter Server (`server`)."""
    config = Config(
        {
            "ServerApp": {
                "jpserver_extensions": {"ilab_jupyter": True},
                "authorizer_class": Recorder,
                **(server or {}),
            },
            "IlabApp": {
                "worker_python": str(python or make_interpreter(folder / "quick-python")),
                "slots": {"batch": 4},
                "grace_seconds": 2.0,
                **(ilab or {}),
            },
        }
    )
    with isolated_jupyter(folder):
        socket, port = bind_unused_port()
        # Not the singleton: a server of one test runs beside the one that the others share.
        app = ServerApp(
            port=port,
            port_retries=0,
            open_browser=False,
            base_url=BASE_URL,
            root_dir=str(folder / "root"),
            config=config,
            allow_root=True,
        )
        app.init_signal = lambda: None  # type: ignore[method-assign]

        async def start() -> HTTPServer:
            app.initialize(argv=[], new_httpserver=False)
            # Pytest captures what is propagated; its streams are closed at the end of each test.
            app.log.propagate = True
            app.log.handlers = []
            app.start_app()
            http_server = HTTPServer(app.web_app)
            http_server.add_socket(socket)
            await app.extension_manager.start_all_extensions()
            return http_server

        http_server = loop.run_until_complete(start())
        one = Server(app, port, folder)

        async def stop() -> None:
            one.kept.clear()
            await one.leave()
            http_server.stop()
            await http_server.close_all_connections()
            await app._cleanup()

        try:
            yield one
        finally:
            loop.run_until_complete(stop())
            app.kernel_manager.context.destroy()
