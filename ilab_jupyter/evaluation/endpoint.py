"""HTTP transport to a model server, with retries, progress, cancellation and reuse of earlier answers.

The benchmark library sends its requests through it. The API key is hidden from the library, addresses are
checked, and requests are refused once the evaluation has ended.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Literal

import httpx

from ilab_jupyter.errors import TeacherError
from ilab_jupyter.evaluation.answers import Answers, Position
from ilab_jupyter.progress import Reporter
from ilab_jupyter.synthesis.teachers.network import CheckedTransport

TRIES = 3
PAUSE = 0.5
LONGEST_PAUSE = 30.0
# Consecutive requests without an answer after which the server counts as failed.
PATIENCE = 8
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
Role = Literal["judge", "student"]


@dataclass(frozen=True)
class Endpoint:
    """The address and key of a model. The key is not shown."""

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout: float = 300.0


class Connection(httpx.BaseTransport):
    """Transport that reports answers as progress and stores them in `answers` under `who`.

    After a stop request or a failure of the server nothing is sent: each request gets status 400, which
    client libraries do not retry. `check` then raises the cause.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        role: Role,
        reporter: Reporter,
        total: int | None = None,
        *,
        answers: Answers | None = None,
        who: str = "",
    ) -> None:
        self._endpoint = endpoint
        self._role = role
        self._reporter = reporter
        self._total = total
        self._answers = answers or Answers()
        self._who = who
        self._inner = CheckedTransport()
        self._lock = threading.Lock()
        self._done = 0
        self._reached = False
        self._failed_in_a_row = 0
        self._broken: TeacherError | OSError | None = None

    def client(self) -> httpx.Client:
        """Return a client for this connection; it neither follows redirects nor uses environment proxies."""
        return httpx.Client(transport=self, timeout=self._endpoint.timeout, trust_env=False)

    def check(self) -> None:
        """Raise the error that broke the connection, if there is one."""
        if self._broken is not None:
            raise self._broken

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer of an earlier attempt, or send the request with the key.

        Retries while the server is busy or unreachable.
        """
        position = (
            self._answers.position(self._who, request.read().decode()) if request.method == "POST" else None
        )
        if position is not None and (known := self._answers.get(position)) is not None:
            self._count()
            return httpx.Response(
                200, headers={"Content-Type": "application/json"}, content=known.encode(), request=request
            )
        if self._endpoint.key:
            request.headers["Authorization"] = f"Bearer {self._endpoint.key}"
        reason = ""
        for attempt in range(TRIES):
            if self._reporter.stopping or self._broken is not None:
                return _refused(request)
            pause = PAUSE * 2**attempt
            try:
                response = self._inner.handle_request(request)
                response.read()
            except TeacherError as error:
                self._broken = self._error(error.message, cause="judge_unreachable")
                return _refused(request)
            except httpx.HTTPError as error:
                reason = f"gives no answer ({type(error).__name__})"
            else:
                if response.status_code not in BUSY:
                    return self._answered(request, response, position)
                reason = f"answers with status {response.status_code}"
                pause = _requested_pause(response, pause)
                response.close()
            if attempt + 1 < TRIES:
                self._wait(pause)
        self._failed(reason)
        return _refused(request)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()

    def _answered(
        self, request: httpx.Request, response: httpx.Response, position: Position | None
    ) -> httpx.Response:
        status, who = response.status_code, f"The {self._role} at {self._endpoint.url}"
        if status in (401, 403):
            self._broken = self._error(f"{who} refuses the key.", cause="judge_failed")
        elif status == 404 or 300 <= status < 400:
            missing = f"{who} has no {self._endpoint.model!r} to chat with."
            self._broken = self._error(missing, cause="judge_failed")
        elif position is not None:
            with self._lock:
                self._reached, self._failed_in_a_row = True, 0
            if status == 200:
                try:
                    self._answers.put(position, response.text)
                except OSError as error:
                    self._broken = error
            self._count()
        return response

    def _count(self) -> None:
        with self._lock:
            self._done += 1
            done = self._done
        total = self._total
        self._reporter.progress(done if total is None else min(done, total), total)

    def _failed(self, reason: str) -> None:
        with self._lock:
            self._failed_in_a_row += 1
            # A server that has never answered counts as unreachable at once.
            if not self._reached or self._failed_in_a_row >= PATIENCE:
                message = f"The {self._role} at {self._endpoint.url} {reason}."
                self._broken = self._error(message, cause="judge_unreachable")

    def _error(self, message: str, *, cause: str) -> TeacherError:
        return TeacherError(
            message.replace("teacher", self._role),
            "Check the address, the model's name and the key in the variable that api_key_env names.",
            cause=cause,
        )

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._reporter.stopping:
            time.sleep(0.05)


def probe(endpoint: Endpoint, reporter: Reporter) -> str:
    """Return the name of the judge's model; if none is given, the first that the server lists.

    Raises TeacherError if the server cannot be reached, refuses the key, or lists no model.
    """
    line = Connection(endpoint, "judge", reporter)
    with line.client() as client:
        response = client.get(f"{endpoint.url}/models")
    # If the name is known, the server need not support listing models.
    if not (endpoint.model and response.status_code == 404):
        line.check()
    if endpoint.model:
        return endpoint.model
    try:
        return str(json.loads(response.content)["data"][0]["id"])
    except (ValueError, KeyError, IndexError, TypeError):
        raise TeacherError(
            f"The judge at {endpoint.url} lists no model.",
            "Name its model, and check that the address ends in /v1.",
            cause="judge_failed",
        ) from None


def _requested_pause(response: httpx.Response, pause: float) -> float:
    try:
        return min(max(float(response.headers.get("Retry-After", "")), 0.0), LONGEST_PAUSE)
    except ValueError:
        return pause


def _refused(request: httpx.Request) -> httpx.Response:
    return httpx.Response(400, json={"error": {"message": "The evaluation has ended."}}, request=request)
