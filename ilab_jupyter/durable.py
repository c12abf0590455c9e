"""Writing files so that a crash leaves them whole or absent, and a full or closed disk gives advice."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ilab_jupyter.errors import Unavailable, is_disk_full


def make_folder(path: Path) -> None:
    """Make `path` and its parents, mode 0700, names durable. An existing folder stays as it is."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    sync(path.parent)


def sync(path: Path) -> None:
    """Make a file's bytes, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put `data` at `path` at once or not at all; when this returns it survives a power cut.

    The file's mode is `mode` less the umask.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """`write_durably` of a JSON value."""
    write_durably(path, json.dumps(value, ensure_ascii=False).encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object at `path`; None where there is none that can be read."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


@contextmanager
def disk_advice(folder: Path) -> Iterator[None]:
    """Inside, an OSError becomes Unavailable that names the folder and what to do."""
    try:
        yield
    except OSError as error:
        raise unavailable(error, folder) from error


def unavailable(error: OSError, folder: Path) -> Unavailable:
    """What a person can do about an OSError in the state folder."""
    if is_disk_full(error):
        return Unavailable(
            f"The disk of {folder} is full.", "Free some space there, then try again.", cause="disk_full"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Unavailable(
            f"The state folder {folder} cannot be written.",
            "Give yourself write permission, or set ILAB_JUPYTER_STATE to a folder that you own.",
            cause="state_folder",
        )
    return Unavailable(
        f"The state folder {folder} cannot be used: {error.strerror or error}.",
        "Set ILAB_JUPYTER_STATE to a folder on a local disk.",
        cause="state_folder",
    )
