"""Real Jupyter servers with the extension, whose jobs are done by a small real process.

`server` is shared by the tests of a module: a test asserts on its own jobs. A test that needs settings, that
asserts on all jobs or that breaks something takes `own_server`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_core.utils import ensure_event_loop
from pytest_jupyter.jupyter_core import pytest_pycollect_makeitem, pytest_pyfunc_call

from tests.server.in_process import Recorder, Server, running
from tests.support.interpreter import make_interpreter

__all__ = ["pytest_pycollect_makeitem", "pytest_pyfunc_call"]


@pytest.fixture(scope="module", autouse=True)
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The event loop of a module's servers and tests."""
    loop = ensure_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def shared_server(
    loop: asyncio.AbstractEventLoop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with running(loop, tmp_path_factory.mktemp("shared")) as server:
        yield server


@pytest.fixture
def server(
    shared_server: Server,
    loop: asyncio.AbstractEventLoop,
    recorder: type[Recorder],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Server]:
    """The module's server, without live jobs, open streams, cookies and recorded requests of other tests."""
    monkeypatch.setenv("ILAB_JUPYTER_STATE", str(shared_server.folder / "state"))
    yield shared_server
    loop.run_until_complete(shared_server.prepare_next_test())


@pytest.fixture
def ilab_config() -> dict[str, Any]:
    """Settings of the extension in `own_server`; override it."""
    return {}


@pytest.fixture
def server_config() -> dict[str, Any]:
    """Settings of Jupyter Server in `own_server`; override it."""
    return {}


@pytest.fixture
def quick_python(tmp_path: Path) -> Path:
    """The interpreter of jobs in `own_server`; override it."""
    return make_interpreter(tmp_path / "quick-python")


@pytest.fixture
def own_server(
    loop: asyncio.AbstractEventLoop,
    tmp_path: Path,
    recorder: type[Recorder],
    quick_python: Path,
    ilab_config: dict[str, Any],
    server_config: dict[str, Any],
) -> Iterator[Server]:
    """A server that no other test uses."""
    folder = tmp_path / "server"
    folder.mkdir()
    with running(loop, folder, python=quick_python, ilab=ilab_config, server=server_config) as server:
        yield server


@pytest.fixture
def recorder() -> type[Recorder]:
    Recorder.reset()
    return Recorder


@pytest.fixture(scope="module")
def make_job(shared_server: Server, loop: asyncio.AbstractEventLoop) -> Callable[..., str]:
    """Runs a job to its end and gives its id; `then` is done to it afterwards, and it ends again."""

    async def make(*script: str, then: str | None = None) -> str:
        id = await shared_server.submit(*script)
        await shared_server.ended(id)
        if then is not None:
            assert (await shared_server.http.post(f"ilab/api/jobs/{id}/{then}")).status_code == 202
            await shared_server.ended(id)
        return id

    return lambda *script, then=None: loop.run_until_complete(make(*script, then=then))
