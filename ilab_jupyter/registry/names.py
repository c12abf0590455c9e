"""What a name in the registry may be, and how a file is opened without leaving the registry's folder."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from ilab_jupyter.errors import InvalidInput, NotFound

# The stricter rule is for new models; what exists (hub models, InstructLab's dated runs) may use capitals.
NEW_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}", re.ASCII)
PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
HUB_ID = re.compile(rf"{PART.pattern}/{PART.pattern}", re.ASCII)


def check_new(name: str) -> str:
    """`name`, or InvalidInput where it cannot name a new model or dataset."""
    if not NEW_NAME.fullmatch(name):
        raise InvalidInput(
            f"{name[:80]!r} cannot be a name.",
            "Use up to 128 small letters, digits, '.', '_' and '-', starting with a letter or a digit.",
        )
    return name


def parts(name: str, depth: int = 2) -> tuple[str, ...] | None:
    """The path components of a registry name of at most `depth` levels, or None where it is no such name."""
    found = tuple(name.split("/"))
    return found if len(found) <= depth and all(PART.fullmatch(part) for part in found) else None


def plain_folder(root: Path, components: tuple[str, ...]) -> Path | None:
    """The folder `components` below `root`, or None where it is absent or a symbolic link is on the way."""
    folder = root
    for component in components:
        folder = folder / component
        if not is_plain_folder(folder):
            return None
    return folder


def existing(text: str) -> Path | None:
    """The file or folder at a path that a person wrote; None where there is none or it can be no path."""
    try:
        path = Path(text).expanduser()
        return path if text and path.exists() else None
    except (OSError, ValueError, RuntimeError):
        return None


def is_plain_file(path: Path) -> bool:
    """True for a regular file that is not a symbolic link."""
    return stat.S_ISREG(_mode(path))


def is_plain_folder(path: Path) -> bool:
    """True for a folder that is not a symbolic link."""
    return stat.S_ISDIR(_mode(path))


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except (OSError, ValueError):
        return 0


def open_below(root: Path, components: tuple[str, ...]) -> BinaryIO:
    """Open the regular file `components` below `root` for reading, following no link on the way.

    Each folder is opened relative to the one before, so a name swapped after a check cannot lead outside.
    NotFound for a missing file and for anything that is not a regular file (a link, a pipe, a device).
    """
    missing = NotFound(f"There is no file {'/'.join(components)!r}.", "List the dataset to see its files.")
    try:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise missing from None
    try:
        for component in components[:-1]:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            inner = os.open(component, flags, dir_fd=folder)
            os.close(folder)
            folder = inner
        # Without O_NONBLOCK, opening a pipe would wait for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(components[-1], flags, dir_fd=folder)
    except (OSError, ValueError):
        raise missing from None
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise missing
    return os.fdopen(descriptor, "rb")
