"""A real Jupyter server in a separate process, its costs, and a lean HTTP client that measures it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")
TOKEN = "benchmark"
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """`python -m jupyter_server` with one extension or none, on separate folders and without settings.

    `scripted` lets jobs run control/worker.py in place of the engine: what is measured is then ours alone.
    """

    def __init__(
        self,
        extension: str | None,
        *,
        python: str = sys.executable,
        scripted: bool = True,
        options: tuple[str, ...] = (),
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="control-plane-"))
        self.state = self.folder / "state"
        environment = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        environment |= {
            "HOME": str(self.folder),
            "JUPYTER_CONFIG_DIR": str(self.folder),
            "JUPYTER_DATA_DIR": str(self.folder / "data"),
            "ILAB_JUPYTER_STATE": str(self.state),
            "PYTHONPATH": str(ROOT) if python == sys.executable else "",
            "HF_HUB_OFFLINE": "1",
        }
        if scripted:
            interpreter = self.folder / "interpreter"
            interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {WORKER} "$4" "$5"\n')
            interpreter.chmod(0o755)
            environment["ILAB_JUPYTER_WORKER_PYTHON"] = str(interpreter)
        # Other installed extensions would be loaded too and must not be measured.
        others = (
            "ilab_jupyter",
            "jupyterlab",
            "notebook",
            "notebook_shim",
            "jupyter_lsp",
            "jupyter_scheduler",
        )
        wanted = {name: name == extension for name in others}
        log = (self.folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            [
                python, "-m", "jupyter_server", "--no-browser", "--allow-root", "--port=0",
                f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={self.folder}",
                f"--ServerApp.jpserver_extensions={wanted}", *options,
            ],
            env=environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        self.port = self._wait()

    def _wait(self) -> int:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/", self.log):
                with suppress(OSError), socket.create_connection(("127.0.0.1", int(found[1])), 1):
                    return int(found[1])
            time.sleep(0.1)
        raise RuntimeError(f"the server did not start:\n{self.log}")

    @property
    def log(self) -> str:
        """What it has printed."""
        return (self.folder / "server.log").read_text(errors="replace")

    @property
    def cpu_seconds(self) -> float:
        """Processor time that it has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def megabytes(self) -> float:
        """Memory that it alone holds: private pages, and its share of shared ones."""
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        found = re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1024

    @property
    def resident(self) -> float:
        """Resident memory in MB, as `ps` shows it."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1024

    def stop(self) -> None:
        """End it and what it started, and remove its folders."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for record in self.state.glob("jobs/*/attempts/*/supervisor.json"):
            try:
                os.kill(json.loads(record.read_text())["pid"], signal.SIGTERM)
            except (OSError, ValueError, KeyError):
                continue
        shutil.rmtree(self.folder, ignore_errors=True)


class Client:
    """One kept-alive connection. A full HTTP library would take more of this machine than the server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, JSON) of one request."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**24)
        reader, writer = self._streams
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} /{path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Authorization: token {TOKEN}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        writer.write(head.encode() + data)
        status = int((await reader.readline()).split()[1])
        length = 0
        while (line := await reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        answer = await reader.readexactly(length)
        return status, json.loads(answer) if answer else None

    async def first(self, path: str, event: bytes) -> None:
        """Follow a stream of server-sent events on a separate connection until the first `event`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**24)
        writer.write(
            f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Authorization: token {TOKEN}\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        while line := await reader.readline():
            if line.strip() == b"event: " + event:
                writer.close()
                return
        raise RuntimeError(f"{path} ended without an event {event!r}")

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
