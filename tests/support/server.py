"""A `jupyter server` in its own process, which a test may stop, kill and start again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.support.interpreter import make_interpreter

TOKEN = "process-token"
# JupyterLab takes longer to load than everything else, and no test of this class needs it.
EXTENSIONS = {"ilab_jupyter": True, "probe_extension": True, "jupyterlab": False, "jupyter_lsp": False}


class JupyterServerProcess:
    """The process; it may be killed and started again on the same folders."""

    def __init__(self, folder: Path, *settings: str, python: Path | None = None) -> None:
        self._folder = folder
        self._settings = settings
        self.state = folder / "state"
        tests = Path(__file__).parents[1]
        self._environment = {
            **os.environ,
            "HOME": str(folder),
            "JUPYTER_CONFIG_DIR": str(folder),
            "ILAB_JUPYTER_STATE": str(self.state),
            "PYTHONPATH": f"{tests.parent}:{tests / 'server'}",
        }
        self._python = python or make_interpreter(folder / "quick-python")
        self._process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client()
        self.url = ""

    def start(self) -> None:
        log = (self._folder / "server.log").open("ab")
        started = log.tell()
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--port=0",
                f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={self._folder}",
                f"--ServerApp.jpserver_extensions={EXTENSIONS}",
                f"--IlabApp.worker_python={self._python}", *self._settings,
            ],
            env=self._environment, cwd=self._folder, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        found = None
        while found is None:
            assert time.monotonic() < deadline and self._process.poll() is None, self.log
            time.sleep(0.1)
            with (self._folder / "server.log").open() as file:
                file.seek(started)
                found = re.search(r"http://127\.0\.0\.1:(\d+)/", file.read())
        headers = {"Authorization": f"token {TOKEN}"}
        self.url = f"http://127.0.0.1:{found[1]}/"
        self.http = httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self, seconds: float) -> None:
        """Send SIGTERM, as a container runtime does, and require the end within `seconds`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(seconds)

    def leave(self) -> None:
        """End its jobs and then the server."""
        if self.runs:
            for job in self.http.get("ilab/api/jobs?state=QUEUED,STARTING,RUNNING").json()["jobs"]:
                self.http.post(f"ilab/api/jobs/{job['id']}/cancel")
            self.kill()

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return (self._folder / "server.log").read_text()
