"""A Jupyter server that is killed and started again on the same folders, and what it holds of the machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "soak"


class Server:
    """`python -m jupyter_server` with this extension, jobs done by soaking/worker.py."""

    def __init__(self, folder: Path, state: Path, slots: int) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        worker = folder / "interpreter"
        worker.write_text(
            f'#!/bin/sh\nexec {sys.executable} -I -S {Path(__file__).with_name("worker.py")} "$4" "$5"\n'
        )
        worker.chmod(0o755)
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        self._environment = {
            **kept,
            "HOME": str(folder),
            "JUPYTER_CONFIG_DIR": str(folder),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "ILAB_JUPYTER_STATE": str(state),
            "ILAB_JUPYTER_WORKER_PYTHON": str(worker),
            "PYTHONPATH": str(ROOT),
        }
        self._options = ["--IlabApp.grace_seconds=1", f"--IlabApp.slots={{'batch': {slots}}}"]
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client()

    def start(self) -> None:
        """Wait until it responds."""
        log = self._folder / "server.log"
        with log.open("ab") as out:
            begin = out.tell()
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--port=0",
                    f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={self._folder}",
                    "--ServerApp.jpserver_extensions={'ilab_jupyter': True, 'jupyterlab': False}",
                    *self._options,
                ],
                env=self._environment, cwd=self._folder, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(
                r"http://127\.0\.0\.1:(\d+)/", log.read_bytes()[begin:].decode(errors="replace")
            )
            if found:
                headers = {"Authorization": f"token {TOKEN}"}
                self.http = httpx.Client(
                    base_url=f"http://127.0.0.1:{found[1]}/", headers=headers, timeout=60
                )
                return
            time.sleep(0.1)
        raise RuntimeError(f"the server did not start: {log}")

    def kill(self) -> None:
        """Kill the server, as in a crash."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.http.close()

    @property
    def holds(self) -> tuple[int, int, float]:
        """(file descriptors, threads, resident megabytes)."""
        assert self.process is not None
        here = Path(f"/proc/{self.process.pid}")
        status = (here / "status").read_text()
        threads, memory = (re.search(rf"{name}:\s+(\d+)", status) for name in ("Threads", "VmRSS"))
        assert threads is not None and memory is not None
        return len(list((here / "fd").iterdir())), int(threads[1]), int(memory[1]) / 1024
