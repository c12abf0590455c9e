"""The file on disk: read and validated as a whole, written atomically, by one process at a time."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from ilab_jupyter import paths
from ilab_jupyter.configuration.document import MAX_BYTES, Document, InvalidYaml
from ilab_jupyter.configuration.sections import Settings
from ilab_jupyter.durable import write_durably
from ilab_jupyter.errors import NotFound, Unavailable, Unprocessable, is_disk_full, wrong_field

LOCK_SECONDS = 10.0


class BadFile(Unprocessable):
    """The file is wrong at `line` and `column`, which count from 1; `problem` is the reason."""

    cause = "bad_config"

    def __init__(self, file: str, message: str, line: int, column: int) -> None:
        super().__init__(
            f"{file}, line {line}, column {column}: {message}.", "Correct this line; nothing was changed."
        )
        self.file = file
        self.problem = message
        self.line = line
        self.column = column


def read(path: Path) -> Document:
    """The file's validated document; NotFound, BadFile, or Unavailable without permission to read."""
    document = parsed(path)
    check(document, str(path))
    return document


def parsed(path: Path) -> Document:
    """The file's document, whose values may be wrong; NotFound, BadFile for what is not YAML, Unavailable."""
    try:
        with open(path, "rb", opener=_without_waiting) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise NotFound(f"{path} is not a regular file.", "Give the path of a config.yaml.")
            data = stream.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(
            f"There is no configuration at {path}.",
            "Make one with Config.init(), or give the path of another.",
            cause="config_missing",
        ) from None
    except IsADirectoryError:
        raise NotFound(f"{path} is a folder.", "Give the path of a config.yaml.") from None
    except OSError as error:
        raise unusable(error, path) from None
    try:
        return Document.read(data)
    except InvalidYaml as error:
        raise BadFile(str(path), error.message, error.line, error.column) from None


def check(document: Document, file: str) -> Settings:
    """The settings of a document; BadFile at the first invalid field."""
    try:
        return Settings.model_validate(document.contents)
    except ValidationError as error:
        found = sorted((document.position(detail["loc"]), wrong_field(detail)) for detail in error.errors())
    (line, column), message = found[0]
    others = len({location for location, _ in found}) - 1
    raise BadFile(file, message + (f" ({others} more wrong)" if others else ""), line, column)


def write(path: Path, data: bytes) -> None:
    """Write `data` to the file, or to the target of a link, and keep its mode; Unavailable."""
    location = path.resolve()
    try:
        mode = stat.S_IMODE(location.stat().st_mode) if location.exists() else 0o644
        existed = location.exists()
        write_durably(location, data, mode)
        if existed:
            location.chmod(mode)
    except OSError as error:
        raise unusable(error, path) from None


def back_up(path: Path) -> None:
    """Copy the file to `<name>.bak` beside it, in place of an older one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unusable(error, path) from None
    write(path.with_name(f"{path.name}.bak"), data)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Inside, no other process changes the file: InstructLab's own lock file is held. Unavailable."""
    location = path.resolve()
    try:
        lock = location.with_name(f"{location.name}.lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise unusable(error, path) from None
    try:
        _take(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def make_folders(folders: list[Path]) -> None:
    """Create missing folders with their parents; Unavailable names the one that cannot be created."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unusable(error, folder) from None


def unusable(error: OSError, path: Path) -> Unavailable:
    """The error for a path that cannot be read or written."""
    if is_disk_full(error):
        return Unavailable(f"The disk of {path} is full.", "Free some space there.", cause="disk_full")
    existing = next((location for location in (path, *path.parents) if paths.exists(location)), Path("/"))
    try:
        owner = f", which belongs to {existing.owner()}"
    except (KeyError, OSError):
        owner = ""
    return Unavailable(
        f"{path} cannot be used ({error.strerror or error}); look at {existing}{owner}.",
        "Give yourself permission, or set XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_CACHE_HOME to other folders.",
        cause="config_folder",
    )


def _without_waiting(path: str, flags: int) -> int:
    """Open without blocking: a named pipe would wait for its writer."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _take(descriptor: int, path: Path) -> None:
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise Unavailable(
                    f"Another process has been changing {path} for {LOCK_SECONDS:.0f} seconds.",
                    "Try again when it is done.",
                    cause="config_locked",
                ) from None
            time.sleep(0.02)
