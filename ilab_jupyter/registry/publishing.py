"""How a folder appears in the registry: written aside on the same disk, made durable, renamed in one step."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ilab_jupyter import durable
from ilab_jupyter.registry.folder import LINEAGE

PREFIX = ".staging-"


class Staging:
    """A context manager around a hidden folder below `root`; what did not `appear` is removed at its end.

    The folder is locked while its writer lives; the next writer sweeps what a killed one left.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root
        self._lock: int | None = None

    def __enter__(self) -> Self:
        self.root.mkdir(parents=True, exist_ok=True)
        _sweep(self.root)
        while self._lock is None:
            self.folder = self.root / f"{PREFIX}{uuid.uuid4().hex}"
            self.folder.mkdir()
            self._lock = _lock(self.folder, fcntl.LOCK_EX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def copy(self, source: Path) -> None:
        """Copy the regular files of `source` into the folder, links as the files they lead to."""
        for entry in sorted(source.iterdir()):
            if entry.is_file() and not entry.name.startswith("."):
                shutil.copyfile(entry, self.folder / entry.name)

    def appear(self, target: Path, lineage: dict[str, Any]) -> bool:
        """Write the lineage, make everything durable and rename the folder to `target`.

        False where `target` has come to exist meanwhile; nothing is changed then.
        """
        (self.folder / LINEAGE).write_text(json.dumps(lineage, indent=2, sort_keys=True) + "\n", "utf-8")
        for entry in self.folder.iterdir():
            if entry.is_file():
                # The safetensors library makes its files 0600, whatever the umask.
                entry.chmod(0o644)
                durable.sync(entry)
        durable.sync(self.folder)
        try:
            # Renaming onto a folder that is not empty fails, so no model is ever replaced.
            self.folder.rename(target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                return False
            raise
        durable.sync(self.root)
        return True


def _lock(folder: Path, how: int) -> int | None:
    """A descriptor that holds the folder's lock; None where it is taken or the folder was swept meanwhile."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, how)
        if folder.exists():
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def _sweep(root: Path) -> None:
    for left in root.glob(f"{PREFIX}*"):
        if (descriptor := _lock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)) is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(descriptor)
