"""What may be handed to git as a repository, a revision or a commit; everything else never reaches it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ilab_jupyter import addresses

SCHEMES = ("https", "ssh", "git", "file")

# A branch, a tag, an id, each with steps back such as ~2; none of git's other forms (a..b, @{-1}, ^{/x}, :x).
REVISION = re.compile(r"(?![-.])[^\s\x00-\x1f\x7f~^:?*\[\\{}]+(?:~\d{0,4}|\^\d?)*")
COMMIT = re.compile(r"(?!.*\.\.)[0-9A-Za-z][\w./-]{0,199}")
_SCP = re.compile(r"[\w.-]+@[\w.-]+:|[\w.-]+\.[\w.-]+:")
_PORTS = {"https": 443, "ssh": 22, "git": 9418}
FORBIDDEN = "this host is the metadata service of a cloud"


def wrong(repo: str) -> str | None:
    """Why `repo` is no repository that we would fetch from; None where it is."""
    if repo.startswith("-"):
        return "it starts with a hyphen"
    if not all(char.isprintable() for char in repo) or len(repo) > 2000:
        return "it has characters that no address has"
    if re.match(r"\w+::", repo):
        return "it is a command"
    if "://" not in repo:
        # an scp-like address: user@host:path
        if _SCP.match(repo) and addresses.is_forbidden(repo.partition(":")[0].rpartition("@")[2]):
            return FORBIDDEN
        return None
    try:
        parts = urlsplit(repo)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return "it is no URL"
    if parts.scheme.lower() not in SCHEMES:
        return f"only {', '.join(SCHEMES)} are fetched from"
    if parts.scheme.lower() == "file":
        return None
    if not host or host.startswith("-") or (parts.username or "").startswith("-"):
        return "it has no host"
    if addresses.is_forbidden(host):
        return FORBIDDEN
    return None


def is_revision(text: str) -> bool:
    """Whether `text` has the form of a branch, a tag or a commit id, with steps back such as `HEAD~2`."""
    return REVISION.fullmatch(text) is not None and ".." not in text and len(text) <= 250


def is_remote(repo: str) -> bool:
    """A URL, an scp-like address or an absolute path: git takes it as it is. Anything else is a path in the
    taxonomy.
    """
    return "://" in repo or repo.startswith(("/", "~")) or _SCP.match(repo) is not None


def git_settings(repo: str) -> list[str]:
    """Settings for a git command that fetches from `repo`: it connects to the addresses that were checked
    here, whatever the name leads to later. ValueError where one of them is forbidden.

    A name that is not known here is left to git: behind a proxy that is usual.
    """
    if (found := host_of(repo)) is None:
        return []
    host, port = found
    try:
        known = addresses.resolved(host, port)
    except (OSError, UnicodeError):
        return []
    if any(map(addresses.is_forbidden, [host, *known])):
        raise ValueError(FORBIDDEN)
    if not repo.lower().startswith("https:") or host in known:
        return []
    listed = ",".join(f"[{one}]" if ":" in one else one for one in known)
    return [f"http.curloptResolve={host}:{port}:{listed}"]


def host_of(repo: str) -> tuple[str, int] | None:
    """The host and the port that fetching from `repo` connects to; None where it stays on this machine."""
    if "://" not in repo:
        if not _SCP.match(repo):
            return None
        return repo.partition(":")[0].rpartition("@")[2], _PORTS["ssh"]
    parts = urlsplit(repo)
    scheme = parts.scheme.lower()
    if scheme == "file" or not parts.hostname:
        return None
    return parts.hostname, parts.port or _PORTS[scheme]
