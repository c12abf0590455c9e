"""A real Jupyter server with the extension, whose jobs are done by a small real process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from jupyter_server.auth import Authorizer
from jupyter_server.serverapp import ServerApp
from pytest_jupyter.jupyter_server import *  # noqa: F403

from tests.support.interpreter import make_interpreter
from tests.support.waiting import until_async


@pytest.fixture
def quick_python(tmp_path: Path) -> Path:
    return make_interpreter(tmp_path / "quick-python")


class Recorder(Authorizer):
    """Lets everything pass, or nothing, and remembers what it was asked."""

    asked: list[tuple[str, str, str]] = []
    allow = True

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        self.asked.append((action, resource, handler.request.path))
        return self.allow


@pytest.fixture
def recorder() -> type[Recorder]:
    Recorder.asked = []
    Recorder.allow = True
    return Recorder


@pytest.fixture
def ilab_config() -> dict[str, Any]:
    """Settings of the extension that a test wants; override it."""
    return {}


@pytest.fixture
def server_config() -> dict[str, Any]:
    """Settings of the Jupyter server that a test wants; override it."""
    return {}


@pytest.fixture
def jp_server_config(
    quick_python: Path, recorder: type[Recorder], ilab_config: dict[str, Any], server_config: dict[str, Any]
) -> dict[str, Any]:
    return {
        "ServerApp": {
            "jpserver_extensions": {"ilab_jupyter": True},
            "authorizer_class": recorder,
            **server_config,
        },
        "IlabApp": {
            "worker_python": str(quick_python),
            "slots": {"batch": 4},
            "grace_seconds": 2.0,
            **ilab_config,
        },
    }


@dataclass
class Server:
    """The running server and a client that holds its token."""

    app: ServerApp
    url: str
    token: str
    http: httpx.AsyncClient

    @property
    def extension(self) -> Any:
        return self.app.extension_manager.extension_points["ilab_jupyter"].app

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


@pytest.fixture
def server(
    jp_serverapp: ServerApp, http_server: Any, jp_http_port: int, jp_base_url: str, jp_asyncio_loop: Any
) -> Iterator[Server]:
    jp_asyncio_loop.run_until_complete(jp_serverapp.extension_manager.start_all_extensions())
    token = jp_serverapp.identity_provider.token
    url = f"http://127.0.0.1:{jp_http_port}{jp_base_url}"
    http = httpx.AsyncClient(base_url=url, headers={"Authorization": f"token {token}"}, timeout=20)
    yield Server(jp_serverapp, url, token, http)

    async def leave() -> None:
        await http.aclose()
        services = jp_serverapp.web_app.settings["ilab"]
        try:
            jobs = await services.jobs()
        except Exception:
            return
        for job in (await jobs.list(limit=100)).jobs:
            if not job.state.ended:
                await jobs.cancel(job.id)

    jp_asyncio_loop.run_until_complete(leave())
