"""Hosts that nothing here connects to: metadata services of clouds, which hand out credentials."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

NAMES = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata.azure.internal",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.tencentyun.com",
    }
)
NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",  # link-local: AWS, Google, Azure, Oracle, IBM, OpenStack and most others
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure's host
        "192.0.0.192/32",  # Oracle, classic
        "fe80::/10",  # link-local
        "fd00:ec2::/32",  # AWS
        "fd20:ce::/32",  # Google
        "fd00:c1::/32",  # Oracle
        "fd00:42::42/128",  # Scaleway
    )
)
_NAT64 = tuple(ipaddress.ip_network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48"))
# Prefixes whose last 32 bits are an IPv4 address: compatible, mapped, translated, and the private ones, which
# hold a site's own translation and most services of a cloud.
_EMBEDDING = tuple(
    ipaddress.ip_network(network) for network in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "fc00::/7")
)
_ISATAP = (0x00005EFE, 0x02005EFE)
_WELL_KNOWN = int(ipaddress.IPv4Address("169.254.169.254"))
_LOW = 0xFFFFFFFF


def is_forbidden(host: str) -> bool:
    """Whether a host, a name or an address in any spelling, is a metadata service. Looks nothing up."""
    plain = host.strip("[]").rstrip(".").partition("%")[0].lower()
    if plain in NAMES:
        return True
    address = _parsed(plain)
    return address is not None and forbidden_address(address)


def forbidden_address(address: Address) -> bool:
    """Whether an address, or an IPv4 address that is embedded in it, belongs to a metadata service."""
    return any(form in network for form in _forms(address) for network in NETWORKS)


def resolved(host: str, port: int) -> list[str]:
    """The addresses of `host`, each once; OSError or UnicodeError where it is not known."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))


def _parsed(host: str) -> Address | None:
    try:
        # also the forms that only resolvers read as numbers: 2852039166, 0xa9fea9fe, 169.254.43518
        return ipaddress.ip_address(host if ":" in host else socket.inet_aton(host))
    except (ValueError, OSError):
        return None


def _forms(address: Address) -> Iterator[Address]:
    """The address, and each IPv4 address that a translation or a tunnel would take it for."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    bits = int(address)
    if any(address in network for network in _EMBEDDING) or (bits >> 32) & _LOW in _ISATAP:
        yield ipaddress.IPv4Address(bits & _LOW)
    if bits & _LOW == _WELL_KNOWN:
        yield ipaddress.IPv4Address(_WELL_KNOWN)
    if any(address in network for network in _NAT64):
        yield from _translated(bits)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo


def _translated(bits: int) -> Iterator[ipaddress.IPv4Address]:
    """The IPv4 address in one of RFC 6052, for each length of the prefix; bits 64 to 71 are skipped."""
    yield ipaddress.IPv4Address(bits & _LOW)
    high, low = bits >> 64, bits & (1 << 56) - 1
    joined = high << 56 | low  # without the skipped byte
    for prefix in (48, 56, 64):
        yield ipaddress.IPv4Address(joined >> (120 - prefix - 32) & _LOW)
