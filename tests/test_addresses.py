"""Which hosts count as the metadata service of a cloud, in whatever spelling."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from ilab_jupyter import addresses
from ilab_jupyter.taxonomy import address


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.43518",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fe80::a9fe:a9fe%eth0",
        "fd00:ec2::254",
        "fd20:ce::254",
        "[fd20:ce::254]",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "fd12:3456::a9fe:a9fe",
        "::169.254.169.254",
        "::ffff:169.254.169.254",
        "::ffff:0:a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::168.63.129.16",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:0:a9:fea9:fe00::",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:5601:5601",
        "2001:db8::5efe:a9fe:a9fe",
        "2001:db8::a9fe:a9fe",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "instance-data",
    ],
)
def test_metadata_address_is_forbidden(host: str) -> None:
    assert addresses.is_forbidden(host)
    literal = host.strip("[]").partition("%")[0]
    spelled = f"[{literal}]" if ":" in literal else literal
    for repo in (f"https://{spelled}/r", f"ssh://git@{spelled}:22/r", f"git://{spelled}/r"):
        assert address.wrong(repo) == address.FORBIDDEN


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "192.168.1.1",
        "169.253.169.254",
        "8.8.8.8",
        "64:ff9b::808:808",
        "2001:4860:4860::8888",
        "fd12:3456::1",
        "2002:808:808::1",
        "localhost",
        "example.org",
        "metadata.example.org",
    ],
)
def test_other_address_is_allowed(host: str) -> None:
    assert not addresses.is_forbidden(host)


@pytest.mark.parametrize("repo", ["git@169.254.169.254:r", "git@metadata.google.internal:r.git"])
def test_scp_address_of_metadata_is_forbidden(repo: str) -> None:
    assert address.wrong(repo) == address.FORBIDDEN


def answers(monkeypatch: pytest.MonkeyPatch, found: str) -> None:
    """Make the resolver answer every name with one address."""
    family = socket.AF_INET6 if ":" in found else socket.AF_INET
    entry = (family, socket.SOCK_STREAM, 6, "", (found, 443))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: [entry])


@pytest.mark.parametrize("found", ["169.254.169.254", "fd20:ce::254", "64:ff9b:1::a9fe:a9fe"])
@pytest.mark.parametrize("repo", ["https://rebound.test/r", "ssh://git@rebound.test/r", "git@rebound.test:r"])
def test_repository_name_that_leads_to_metadata_is_refused(
    repo: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, found)
    with pytest.raises(ValueError, match="metadata service"):
        address.git_settings(repo)


def test_git_connects_to_the_checked_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "203.0.113.7")
    assert address.git_settings("https://git.test/r") == ["http.curloptResolve=git.test:443:203.0.113.7"]
    answers(monkeypatch, "2001:db8::7")
    assert address.git_settings("https://git.test:8443/r") == [
        "http.curloptResolve=git.test:8443:[2001:db8::7]"
    ]
    assert address.git_settings("file:///tmp/r") == []


def test_unknown_repository_name_is_left_to_git(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: Any, **_more: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert address.git_settings("https://git.test/r") == []
