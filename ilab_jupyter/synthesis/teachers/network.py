"""Where a teacher's address may lead: anywhere but to a cloud machine's metadata service, which hands out
credentials.
"""

from __future__ import annotations

import ipaddress
import socket
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
    """Connects only to addresses that were checked: a name is resolved once, so it cannot change later."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        addresses = resolve(host, port)
        extensions: dict[str, Any] = {**request.extensions, "sni_hostname": host}
        for number, address in enumerate(addresses):
            aimed = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,  # which name the host as it was given
                stream=request.stream,
                extensions=extensions,
            )
            try:
                return super().handle_request(aimed)
            except httpx.ConnectError:
                if number == len(addresses) - 1:
                    raise
        raise httpx.ConnectError(f"no address of {host}")
