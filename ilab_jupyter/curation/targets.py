"""Output files of a curation, written atomically and never over an input."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ilab_jupyter import durable, paths
from ilab_jupyter.curation.sources import Source, Sources, listed
from ilab_jupyter.errors import Conflict, InvalidInput, Unavailable, is_disk_full
from ilab_jupyter.registry import Datasets


def beside(data: Sources, ending: str) -> Path:
    """Return the default path of a result: beside the first input, with its name and `ending`.

    For a file in a dataset's folder, the result is beside that folder, because training on the folder would
    otherwise read the rows twice.
    """
    first = listed(data)[0]
    text = os.fspath(first)
    position = paths.given(text).absolute()
    if not position.exists():
        position = Datasets().root / text
    parent = position.parent
    inside = parent.parent == paths.datasets_dir().absolute()
    stem = position.stem if position.is_file() else position.name
    return (parent.parent if inside else parent) / f"{stem}{ending}"


def choose(output: Source | None, default: Path, inputs: Iterable[Path], overwrite: bool) -> Path:
    """Return the path to write to.

    Raises InvalidInput if it is an input or not a file, Conflict if it exists and `overwrite` is false.
    """
    path = paths.given(output).absolute() if output is not None else default
    if path.exists():
        if any(path.samefile(given) for given in inputs):
            raise InvalidInput(f"{path.name} is what is read.", "Choose another output; nothing is lost.")
        if not path.is_file():
            raise InvalidInput(f"{path} is no file.", "Choose the path of a file.")
        if not overwrite:
            raise Conflict(f"{path} exists already.", "Choose another output, or give overwrite=True.")
    return path


def line(value: Any) -> bytes:
    """Return the value as one line of JSON."""
    try:
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value).encode() + b"\n"


@contextmanager
def written(path: Path, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Yield a stream whose bytes are moved to `path` atomically and durably if the block succeeds.

    Raises Conflict if a file was created there meanwhile, Unavailable if the disk cannot be written.
    """
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            _link(temporary, path)
        durable.sync(path.parent)
    except FileExistsError:
        raise Conflict(f"{path} has come up meanwhile.", "Choose another output.") from None
    except OSError as error:
        if error.filename not in (None, str(path), str(temporary), str(path.parent)):
            raise
        why = "its disk is full" if is_disk_full(error) else error.strerror
        raise Unavailable(
            f"{path} cannot be written: {why}.", "Choose a folder of yours with space on its disk."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _link(temporary: Path, path: Path) -> None:
    """Move the file with a hard link, which never replaces a file; without link support, with a rename."""
    try:
        path.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        temporary.rename(path)
