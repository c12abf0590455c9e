"""The files that a curation makes: never over what it reads, complete or not there at all."""

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
    """The default path of a result: beside the input, its name with `ending`.

    A file of a dataset's folder gets its result beside that folder, not in it: training on the folder
    would read its rows twice.
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
    """The path to write to.

    InvalidInput for one of the inputs, Conflict for a file that exists and is not to be overwritten.
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
    """A JSON value as one line."""
    try:
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value).encode() + b"\n"


@contextmanager
def written(path: Path, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A stream whose bytes appear at `path` when the block ends well, and survive a power cut then.

    Conflict where a file has come up there meanwhile, Unavailable where the disk refuses.
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
    """Unlike a rename, a link never takes the place of a file. Not every file system has them."""
    try:
        path.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        temporary.rename(path)
