"""Type of the file system of a folder, and its free space."""

from __future__ import annotations

import shutil
from pathlib import Path

_NETWORK = ("nfs", "cifs", "smb", "ceph", "lustre", "gpfs", "glusterfs", "9p", "fuse.sshfs", "afs", "beegfs")
LOW_DISK_BYTES = 50_000_000


def filesystem(path: Path) -> str:
    """Return the type of the file system that holds `path`, such as `ext4` or `nfs4`; empty if unknown."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    best = ("", "")
    for line in mounts.splitlines():
        where, kind = line.split(" ")[1:3]
        where = where.replace("\\040", " ")
        if path.resolve().is_relative_to(where) and len(where) >= len(best[0]):
            best = (where, kind)
    return best[1]


def network(path: Path) -> str:
    """Return the type of the network file system that holds `path`; empty for a local disk."""
    kind = filesystem(path)
    return kind if kind.startswith(_NETWORK) else ""


def free_bytes(path: Path) -> int | None:
    """Return the free bytes; None if unknown."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None
