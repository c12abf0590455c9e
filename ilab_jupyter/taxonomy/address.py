"""What may be handed to git as a repository, a revision or a commit; everything else never reaches it."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

SCHEMES = ("https", "ssh", "git", "file")

# A branch, a tag, an id, each with steps back such as ~2; none of git's other forms (a..b, @{-1}, ^{/x}, :x).
REVISION = re.compile(r"(?![-.])[^\s\x00-\x1f\x7f~^:?*\[\\{}]+(?:~\d{0,4}|\^\d?)*")
COMMIT = re.compile(r"(?!.*\.\.)[0-9A-Za-z][\w./-]{0,199}")
_SCP = re.compile(r"[\w.-]+@[\w.-]+:|[\w.-]+\.[\w.-]+:")
_METADATA = ipaddress.ip_network("fd00:ec2::/32")


def wrong(repo: str) -> str | None:
    """Why `repo` is no repository that we would fetch from; None where it is."""
    if repo.startswith("-"):
        return "it starts with a hyphen"
    if not all(char.isprintable() for char in repo) or len(repo) > 2000:
        return "it has characters that no address has"
    if re.match(r"\w+::", repo):
        return "it is a command"
    if "://" not in repo:
        return None
    try:
        parts = urlsplit(repo)
        host = parts.hostname or ""
    except ValueError:
        return "it is no URL"
    if parts.scheme.lower() not in SCHEMES:
        return f"only {', '.join(SCHEMES)} are fetched from"
    if parts.scheme.lower() == "file":
        return None
    if not host or host.startswith("-") or (parts.username or "").startswith("-"):
        return "it has no host"
    if _is_link_local(host):
        return "this host is the machine's own metadata"
    return None


def is_revision(text: str) -> bool:
    """Whether `text` has the form of a branch, a tag or a commit id, with steps back such as `HEAD~2`."""
    return REVISION.fullmatch(text) is not None and ".." not in text and len(text) <= 250


def is_remote(repo: str) -> bool:
    """A URL, an scp-like address or an absolute path: git takes it as it is. Anything else is a path in the
    taxonomy.
    """
    return "://" in repo or repo.startswith(("/", "~")) or _SCP.match(repo) is not None


def _is_link_local(host: str) -> bool:
    try:
        # also the forms that only resolvers read as numbers: 2852039166, 0xa9fea9fe, 169.254.43518
        address = ipaddress.ip_address(host if ":" in host else socket.inet_aton(host))
    except (ValueError, OSError):
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_link_local or address in _METADATA
