"""A REST client that writes a history, and the addresses of Jupyter servers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.faults import history
from tests.faults.history import History


class RestClient:
    """Calls one server. Raises httpx.TransportError if it is gone."""

    def __init__(self, url: str, history: History) -> None:
        self._http = httpx.Client(
            base_url=f"{url}ilab/api/", headers={"Authorization": "token t"}, timeout=60
        )
        self._history = history

    def submit(self, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Submit under the key that is the arguments' tag."""
        body = {"kind": "train", "arguments": history.train_arguments(given)}
        return self.call(
            "submit", "POST", "jobs", given, json=body, headers={"Idempotency-Key": given["tag"]}
        )

    def list(self) -> list[dict[str, Any]]:
        """List the newest hundred jobs."""
        return self.call("list", "GET", "jobs?limit=100", {})

    def call(
        self, what: str, method: str, path: str, details: Mapping[str, Any], **more: Any
    ) -> list[dict[str, Any]]:
        """Return the jobs in the response as the checker sees them, with `ended`; none if it was refused."""
        op = self._history.invoke(what, **details)
        answer = self._http.request(method, path, **more)
        if answer.status_code >= 400:
            assert answer.status_code != 500, answer.text
            self._history.refused(op, answer.text)
            return []
        body = answer.json()
        jobs = body.get("jobs", [body])
        self._history.returned(op, jobs)
        return [{**history.seen(job), "ended": job["ended_at"] is not None} for job in jobs]


def address(runtime: Path, pid: int | None, seconds: float = 60) -> str:
    """Return the address of the Jupyter server with this PID, once it has written it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            return str(json.loads((runtime / f"jpserver-{pid}.json").read_text())["url"])
        except (OSError, ValueError):
            time.sleep(0.02)
    raise TimeoutError("the Jupyter server did not start")
