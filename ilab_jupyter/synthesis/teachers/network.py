"""Where a teacher's address may lead: anywhere but to a cloud machine's metadata service, which hands out
credentials.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import math
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

from ilab_jupyter.errors import TeacherError

_FORBIDDEN = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",  # AWS, GCP, Azure and most others
        "fe80::/10",
        "fd00:ec2::254/128",  # AWS over IPv6
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure's host
    )
)
KNOWN_SECONDS = 30.0
POOL = 16
LARGEST_ANSWER = 64_000_000
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def resolve(host: str, port: int) -> list[str]:
    """The addresses of `host`. TeacherError where one is forbidden, in whatever spelling, or where there is
    none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise TeacherError(
            f"The teacher's host {host!r} is not known.",
            "Check the address and the network.",
            cause="teacher_unreachable",
        ) from None
    addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    for address in addresses:
        if any(form in network for form in _forms(ipaddress.ip_address(address)) for network in _FORBIDDEN):
            raise TeacherError(
                f"The teacher's address {host} leads to a cloud metadata service, which is never asked.",
                "Give the address of a model server.",
                cause="teacher_forbidden",
            )
    return addresses


def _forms(address: Address) -> list[Address]:
    """The address, and the IPv4 address that an IPv6 one stands for."""
    forms: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        forms += [inner for inner in (address.ipv4_mapped, address.sixtofour) if inner is not None]
        if address in _NAT64:
            forms.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return forms


class CheckedTransport(httpx.HTTPTransport):
    """Connects only to addresses that were checked: a name is resolved once, so it cannot change later. An
    answer has a largest size, and all of it, from its first line on, the time that the request gives to a
    silence: a server that sends a byte now and then is as slow as one that sends none.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        addresses = resolve(request.url.host, _port(request))
        for address in addresses[:-1]:
            try:
                return self._sent(request, address)
            except httpx.ConnectError:
                continue
        return self._sent(request, addresses[-1])

    def _sent(self, request: httpx.Request, address: str) -> httpx.Response:
        response = super().handle_request(_aimed(request, address))
        return _limited(response, request.extensions.get("timeout", {}).get("read"))


class CheckedAsyncTransport(httpx.AsyncBaseTransport):
    """The same for an event loop and up to `most` requests at once. A checked name is good for
    `KNOWN_SECONDS`, so a thousand requests do not ask for it a thousand times.

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
        addresses = await self._resolve(request.url.host, _port(request))
        pool = next(self._turns)
        for address in addresses[:-1]:
            try:
                return _limited(await pool.handle_async_request(_aimed(request, address)))
            except httpx.ConnectError:
                continue
        return _limited(await pool.handle_async_request(_aimed(request, addresses[-1])))

    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.aclose()

    async def _resolve(self, host: str, port: int) -> list[str]:
        since, addresses = self._known.get((host, port), (0.0, []))
        if not addresses or time.monotonic() - since > KNOWN_SECONDS:
            addresses = await asyncio.get_running_loop().run_in_executor(None, resolve, host, port)
            self._known[host, port] = (time.monotonic(), addresses)
        return addresses


class _Limited(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that ends in an error once it is larger than any answer can be, or takes more than `seconds`."""

    def __init__(self, body: Any, seconds: float | None) -> None:
        self._body = body
        self._left = LARGEST_ANSWER
        self._end = math.inf if seconds is None else time.monotonic() + seconds

    def __iter__(self) -> Iterator[bytes]:
        for part in self._body:
            yield self._counted(part)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield self._counted(part)

    def close(self) -> None:
        self._body.close()

    async def aclose(self) -> None:
        await self._body.aclose()

    def _counted(self, part: bytes) -> bytes:
        self._left -= len(part)
        if self._left < 0:
            raise _refused(f"more than {LARGEST_ANSWER:,} bytes")
        if time.monotonic() > self._end:
            raise httpx.ReadTimeout("The answer does not come to its end.")
        return part


def _limited(response: httpx.Response, seconds: float | None = None) -> httpx.Response:
    # none was asked for, and a small body can unpack to one without end
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _refused("a compressed body, which it was asked not to send")
    response.stream = _Limited(response.stream, seconds)
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
