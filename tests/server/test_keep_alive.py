"""A live job keeps a real server alive, by what a Hub's culler reads and by the server's own timeout."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.server import JupyterServerProcess
from tests.support.waiting import until

pytestmark = pytest.mark.slow


def last_activity(server: JupyterServerProcess) -> datetime:
    # The question itself is no activity, or a culler would keep alive what it looks at.
    payload = server.http.get("api/status?no_track_activity=1").json()
    return datetime.fromisoformat(payload["last_activity"])


def idle(server: JupyterServerProcess) -> bool:
    """Let the server stop if it thinks that nothing goes on; whether it does."""
    server.http.post("probe/idle")
    if "No kernels for" not in server.log.replace("with no kernels", ""):
        return False
    until(lambda: not server.runs)
    return True


@pytest.mark.parametrize("hours", [1.0, 0.0])
def test_live_job_keeps_server_alive_up_to_the_limit(tmp_path: Path, hours: float) -> None:
    server = JupyterServerProcess(
        tmp_path, "--ServerApp.shutdown_no_activity_timeout=3", f"--IlabApp.keep_alive_hours={hours}"
    )
    server.start()
    try:
        body = {"kind": "train", "arguments": {"data": ["sleep:60"]}}
        id = server.http.post("ilab/api/jobs", json=body).json()["id"]
        path = server.state / "jobs" / id / "attempts/1/supervisor.json"
        until(path.exists)
        before = last_activity(server)
        time.sleep(4)
        moved = last_activity(server) > before
        assert moved is (hours > 0)
        assert idle(server) is (hours == 0)
        if hours == 0:
            return
        server.http.post(f"ilab/api/jobs/{id}/cancel")
        until(lambda: server.http.get(f"ilab/api/jobs/{id}").json()["ended_at"])
        time.sleep(6)
        assert idle(server), "nothing keeps it alive any more"
    finally:
        server.leave()
