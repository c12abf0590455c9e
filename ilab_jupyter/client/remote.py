"""The job service over HTTP. A lost connection is not the end of a job."""

from __future__ import annotations

import asyncio
import builtins
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

import httpx
from pydantic import ValidationError

from ilab_jupyter import errors
from ilab_jupyter.client.problem import Problem
from ilab_jupyter.errors import Forbidden, InvalidInput, PublicError, Unavailable
from ilab_jupyter.jobs.record import (
    EVERY,
    Attempt,
    AuditEntry,
    Event,
    Job,
    JobFilter,
    JobPage,
    JobSpec,
    LogChunk,
    LogMatches,
    Pruned,
    QueueState,
    RemovedJob,
    Resources,
)

# A stream sends a comment every 15 s; silence this long means that the connection is dead.
SILENCE_SECONDS = 45.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0

_KNOWN: dict[tuple[int, str], type[PublicError]] = {
    (kind.status, kind.cause): kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, PublicError) and kind is not PublicError
}
_BY_STATUS: dict[int, type[PublicError]] = {status: kind for (status, _), kind in _KNOWN.items()}


class RemoteJobs:
    """Jobs behind `url`, the base address of a Jupyter server, with its token.

    Every error is the PublicError that the service raised. Where the service does not answer, calls raise
    Unavailable at once and `watch` goes on trying for `patience` seconds, from where it stopped.
    """

    def __init__(self, url: str, token: str | None = None, *, patience: float = 300.0) -> None:
        parsed = httpx.URL(url)
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise InvalidInput(
                f"{url!r} is not the address of a server.", "Give one such as http://127.0.0.1:8888/."
            )
        self.url = str(parsed.copy_with(query=None, fragment=None)).rstrip("/") + "/"
        self.headers: dict[str, str] = {"Authorization": f"token {token}"} if token else {}
        self._patience = patience
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    @property
    def v1_url(self) -> str:
        """Where the OpenAI-compatible API of this service lies."""
        return f"{self.url}ilab/v1"

    async def submit(
        self, spec: JobSpec, *, key: str | None = None, secrets: Mapping[str, str] | None = None
    ) -> Job:
        """As in JobService. The service derives the queue from the kind."""
        body: dict[str, Any] = {
            "kind": spec.kind,
            "arguments": spec.arguments,
            "name": spec.name,
            "priority": spec.priority,
        }
        if spec.resources != Resources():
            body["resources"] = spec.resources.model_dump(exclude_none=True)
        if key is not None:
            body["key"] = key
        if secrets:
            body["secrets"] = dict(secrets)
        return Job.model_validate(await self._json("POST", "jobs", json=body))

    async def get(self, id: str) -> Job:
        """As in JobService."""
        return Job.model_validate(await self._json("GET", f"jobs/{_part(id)}"))

    async def cancel(self, id: str) -> Job:
        """As in JobService."""
        return Job.model_validate(await self._json("POST", f"jobs/{_part(id)}/cancel"))

    async def resume(self, id: str) -> Job:
        """As in JobService."""
        return Job.model_validate(await self._json("POST", f"jobs/{_part(id)}/resume"))

    async def logs(
        self, id: str, *, offset: int = 0, limit: int = 65536, attempt: int | None = None
    ) -> LogChunk:
        """As in JobService."""
        query = {"offset": offset, "limit": limit} | ({"attempt": attempt} if attempt is not None else {})
        return LogChunk.model_validate(await self._json("GET", f"jobs/{_part(id)}/log", params=query))

    async def events(self, id: str, *, after: int = 0, limit: int = 1000) -> builtins.list[Event]:
        """As in JobService."""
        answer = await self._json("GET", f"jobs/{_part(id)}/events", params={"after": after, "limit": limit})
        return [Event.model_validate(event) for event in answer["events"]]

    async def attempts(self, id: str) -> builtins.list[Attempt]:
        """As in JobService."""
        answer = await self._json("GET", f"jobs/{_part(id)}/attempts")
        return [Attempt.model_validate(attempt) for attempt in answer["attempts"]]

    async def search(
        self,
        id: str,
        pattern: str,
        *,
        regex: bool = False,
        offset: int = 0,
        limit: int = 100,
        attempt: int | None = None,
    ) -> LogMatches:
        """As in JobService."""
        query: dict[str, Any] = {"pattern": pattern, "regex": regex, "offset": offset, "limit": limit}
        query |= {"attempt": attempt} if attempt is not None else {}
        return LogMatches.model_validate(
            await self._json("GET", f"jobs/{_part(id)}/log/search", params=query)
        )

    async def remove(self, id: str) -> RemovedJob:
        """As in JobService."""
        return RemovedJob.model_validate(await self._json("DELETE", f"jobs/{_part(id)}"))

    async def queue(self) -> QueueState:
        """As in JobService."""
        return QueueState.model_validate(await self._json("GET", "queue"))

    async def pause(self, reason: str = "") -> QueueState:
        """As in JobService."""
        return QueueState.model_validate(await self._json("POST", "queue/pause", json={"reason": reason}))

    async def unpause(self) -> QueueState:
        """As in JobService."""
        return QueueState.model_validate(await self._json("POST", "queue/unpause"))

    async def reorder(self, id: str, *, before: str | None = None) -> Job:
        """As in JobService."""
        body = {"before": before}
        return Job.model_validate(await self._json("POST", f"jobs/{_part(id)}/move", json=body))

    async def prune(
        self, *, days: float | None = None, keep_bytes: int | None = None, dry_run: bool = False
    ) -> Pruned:
        """As in JobService."""
        body = {"days": days, "keep_bytes": keep_bytes, "dry_run": dry_run}
        return Pruned.model_validate(await self._json("POST", "prune", json=body))

    async def audit(self, *, after: int = 0, limit: int = 100) -> builtins.list[AuditEntry]:
        """As in JobService."""
        answer = await self._json("GET", "audit", params={"after": after, "limit": limit})
        return [AuditEntry.model_validate(entry) for entry in answer["entries"]]

    async def watch(
        self, id: str, *, after: int = 0, log_offset: int | None = None, log_attempt: int | None = None
    ) -> AsyncIterator[Event]:
        """As in JobService. A broken connection is taken up again after the last event and byte seen."""
        state: Event | None = None
        pause, deadline = FIRST_PAUSE, time.monotonic() + self._patience
        while True:
            try:
                async with aclosing(self._stream(id, after, log_offset, log_attempt)) as events:
                    first = await anext(events, None)
                    # Each connection begins with the state; a repeated one is skipped.
                    if first is not None and (state is None or state.fields != first.fields):
                        state = first
                        yield first
                    async for event in events:
                        pause, deadline = FIRST_PAUSE, time.monotonic() + self._patience
                        if event.type == "log":
                            log_offset = int(event.fields["next_offset"])
                            log_attempt = int(event.fields["attempt"])
                        elif event.type == "state":
                            state = event
                        elif event.type != "end":
                            after = max(after, event.seq)
                        yield event
                        if event.type == "end":
                            return
                problem = Unavailable("The server closed the stream.", "Try again.")
            except Unavailable as error:
                problem = error
            if time.monotonic() >= deadline:
                raise problem
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    async def list(self, filter: JobFilter = EVERY, *, cursor: str | None = None, limit: int = 50) -> JobPage:
        """As in JobService."""
        query: dict[str, Any] = {"limit": limit, "state": list(filter.states), "kind": list(filter.kinds)}
        query |= {"text": filter.text} if filter.text else {}
        query |= {"cursor": cursor} if cursor is not None else {}
        return JobPage.model_validate(await self._json("GET", "jobs", params=query))

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    async def _stream(
        self, id: str, after: int, log_offset: int | None, log_attempt: int | None
    ) -> AsyncGenerator[Event, None]:
        cursor = {"log_offset": log_offset, "log_attempt": log_attempt}
        query = {"after": after} | {name: value for name, value in cursor.items() if value is not None}
        url = f"{self.url}ilab/api/jobs/{_part(id)}/events"
        timeout = httpx.Timeout(10.0, read=SILENCE_SECONDS)
        try:
            async with self._client().stream(
                "GET", url, params=query, headers={"Accept": "text/event-stream"}, timeout=timeout
            ) as response:
                if response.status_code != 200:
                    await response.aread()
                    raise _error(response)
                kind, data = "", ""
                async for line in response.aiter_lines():
                    if line.startswith("event: "):
                        kind = line[7:]
                    elif line.startswith("data: "):
                        data = line[6:]
                    elif not line and data:
                        if kind == "problem":
                            raise _public_error(Problem.model_validate_json(data))
                        yield Event.model_validate_json(data)
                        kind, data = "", ""
        except (httpx.HTTPError, ValidationError) as error:
            raise _unreachable(self.url, error) from error

    async def _json(self, method: str, path: str, **request: Any) -> Any:
        try:
            response = await self._client().request(method, f"{self.url}ilab/api/{path}", **request)
        except httpx.HTTPError as error:
            raise _unreachable(self.url, error) from error
        if not response.is_success:
            raise _error(response)
        try:
            return response.json()
        except ValueError as error:
            raise _foreign(self.url) from error

    def _client(self) -> httpx.AsyncClient:
        """One a loop: a connection belongs to the loop that opened it."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None or client.is_closed:
            client = self._clients[loop] = httpx.AsyncClient(
                headers=self.headers, timeout=httpx.Timeout(30.0, connect=10.0)
            )
        return client


def _part(id: str) -> str:
    """An id as one part of an address; one that cannot be is sent so that the service says so."""
    return quote(id, safe="") if id not in ("", ".", "..") else quote(f"{id} ", safe="")


def _error(response: httpx.Response) -> PublicError:
    with suppress(ValidationError):
        return _public_error(Problem.model_validate_json(response.content))
    if response.status_code in (401, 403):
        return Forbidden("The server refused the token.", "Give the token of this server.")
    if response.status_code == 404:
        return Unavailable(
            "The server has no ilab-jupyter extension.",
            "Install it there: pip install ilab-jupyter; see `jupyter server extension list`.",
            cause="no_extension",
        )
    return Unavailable(f"The server answered with status {response.status_code}.", "See its log.")


def _public_error(problem: Problem) -> PublicError:
    """The error that the service raised: same class, same text."""
    status, code = problem.status, problem.code
    kind = _KNOWN.get((status, code)) or _BY_STATUS.get(status) or PublicError
    error = kind(problem.message, problem.hint, cause=code or None)
    if kind is PublicError and status >= 400:
        error.status = status
    return error


def _unreachable(url: str, error: Exception) -> Unavailable:
    if isinstance(error, httpx.ConnectError):
        return Unavailable(
            f"Nothing answers at {url}.", "Start the server, or correct the address.", cause="unreachable"
        )
    return Unavailable(
        f"The server at {url} sent an invalid response ({type(error).__name__}).",
        "See whether it runs, and whether the address is right.",
        cause="unreachable",
    )


def _foreign(url: str) -> Unavailable:
    return Unavailable(
        f"What answers at {url} is not an ilab-jupyter service.", "Check the address.", cause="unreachable"
    )
