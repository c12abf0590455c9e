"""Where a teacher's address may lead: anywhere but to a cloud machine's metadata service, which hands out
credentials.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx

from ilab_jupyter import addresses
from ilab_jupyter.errors import TeacherError

KNOWN_SECONDS = 30.0
POOL = 16
LARGEST_ANSWER = 64_000_000


def resolve(host: str, port: int) -> list[str]:
    """The addresses of `host`. TeacherError where one is forbidden, in whatever spelling, or where there is
    none.
    """
    if addresses.is_forbidden(host):
        raise _forbidden(host)
    try:
        found = addresses.resolved(host, port)
    except (OSError, UnicodeError):
        raise TeacherError(
            f"The teacher's host {host!r} is not known.",
            "Check the address and the network.",
            cause="teacher_unreachable",
        ) from None
    if any(addresses.is_forbidden(address) for address in found):
        raise _forbidden(host)
    return found


def _forbidden(host: str) -> TeacherError:
    return TeacherError(
        f"The teacher's address {host} leads to a cloud metadata service, to which no request is sent.",
        "Give the address of a model server.",
        cause="teacher_forbidden",
    )


class CheckedTransport(httpx.BaseTransport):
    """`CheckedAsyncTransport` for callers that block. An answer arrives whole, and everything about it, from
    the name's look-up to the last byte of the body, has the time that the request gives to a silence.

    The requests run in an event loop of their own: of a blocking socket only each single read has a limit.
    """

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inner: CheckedAsyncTransport | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        waiting = asyncio.run_coroutine_threadsafe(self._answered(request), self._started())
        try:
            return waiting.result()
        except BaseException:
            waiting.cancel()
            raise

    def close(self) -> None:
        if self._loop is not None:
            if self._inner is not None:
                asyncio.run_coroutine_threadsafe(self._inner.aclose(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop = self._inner = None

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run, args=(self._loop,), name="teacher-http", daemon=True).start()
            return self._loop

    async def _answered(self, request: httpx.Request) -> httpx.Response:
        if self._inner is None:
            self._inner = CheckedAsyncTransport(POOL)
        forwarded = httpx.Request(
            request.method,
            request.url,
            headers=request.headers,
            content=request.read(),
            extensions=request.extensions,
        )
        try:
            async with asyncio.timeout(_silence(request)):
                response = await self._inner.handle_async_request(forwarded)
                try:
                    content = await response.aread()
                finally:
                    await response.aclose()
        except TimeoutError:
            raise httpx.ReadTimeout("The answer does not come to its end.") from None
        return httpx.Response(
            response.status_code, headers=response.headers, content=content, extensions=response.extensions
        )


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _silence(request: httpx.Request) -> float | None:
    """The seconds that a request gives to a silence; None without a limit."""
    seconds: float | None = request.extensions.get("timeout", {}).get("read")
    return seconds


class CheckedAsyncTransport(httpx.AsyncBaseTransport):
    """Connects only to addresses that were checked: a name is resolved once, so it cannot change later. A
    checked name is good for `KNOWN_SECONDS`, so a thousand requests do not look it up a thousand times. An
    answer has a largest size.

    The look-up, the connection and the headers together have the time that the request gives to a silence:
    a server that sends a byte now and then is as slow as one that sends none. The body has it for each read
    only, so a long answer may be streamed; a limit around the whole request is the caller's.

    Requests go to many small pools in turn: in one pool, httpcore looks at each connection for each other
    one whenever a request begins or ends.
    """

    def __init__(self, most: int) -> None:
        self._known: dict[tuple[str, int], tuple[float, list[str]]] = {}
        context = httpx.create_ssl_context()
        # a pool's share is uneven for moments, so a pool has no largest number of its own
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=POOL)
        self._pools = [
            httpx.AsyncHTTPTransport(verify=context, limits=limits) for _ in range(math.ceil(most / POOL))
        ]
        self._turns = itertools.cycle(self._pools)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            async with asyncio.timeout(_silence(request)):
                return await self._begun(request)
        except TimeoutError:
            raise httpx.ReadTimeout("The headers of the answer do not come to their end.") from None

    async def _begun(self, request: httpx.Request) -> httpx.Response:
        """The answer, of which the headers have been read."""
        found = await self._resolve(request.url.host, _port(request))
        pool = next(self._turns)
        for address in found[:-1]:
            try:
                return _limited(await pool.handle_async_request(_aimed(request, address)))
            except httpx.ConnectError:
                continue
        return _limited(await pool.handle_async_request(_aimed(request, found[-1])))

    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.aclose()

    async def _resolve(self, host: str, port: int) -> list[str]:
        since, found = self._known.get((host, port), (0.0, []))
        if not found or time.monotonic() - since > KNOWN_SECONDS:
            found = await asyncio.get_running_loop().run_in_executor(None, resolve, host, port)
            self._known[host, port] = (time.monotonic(), found)
        return found


class _Limited(httpx.AsyncByteStream):
    """A body that ends in an error once it is larger than any answer can be."""

    def __init__(self, body: Any) -> None:
        self._body = body
        self._left = LARGEST_ANSWER

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield self._counted(part)

    async def aclose(self) -> None:
        await self._body.aclose()

    def _counted(self, part: bytes) -> bytes:
        self._left -= len(part)
        if self._left < 0:
            raise _refused(f"more than {LARGEST_ANSWER:,} bytes")
        return part


def _limited(response: httpx.Response) -> httpx.Response:
    # none was requested, and a small body can unpack to one without end
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _refused("a compressed body, which was not requested")
    response.stream = _Limited(response.stream)
    return response


def _refused(what: str) -> TeacherError:
    return TeacherError(
        f"The teacher answers with {what}.",
        "Check that the address ends in /v1 and belongs to an OpenAI-compatible server.",
        cause="teacher_bad_answer",
    )


def _port(request: httpx.Request) -> int:
    return request.url.port or (443 if request.url.scheme == "https" else 80)


def _aimed(request: httpx.Request, address: str) -> httpx.Request:
    headers = request.headers.copy()  # which name the host as it was given
    headers["accept-encoding"] = "identity"
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )
