"""The format of a backup file: a gzip tar of header, rows, files and manifest."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ilab_jupyter.jobs.store import schema
from ilab_jupyter.jobs.store.database import FOLDER

FORMAT = 1
HEADER, ROWS, MANIFEST = "backup.json", "rows.jsonl", "manifest.json"
TABLES = (schema.job, schema.attempt, schema.audit, schema.setting)
# Facts of the database itself, not of the jobs.
OWN_SETTINGS = frozenset({"schema", FOLDER})
# Of a process, or secret: nothing of a restored job may be taken for a process that runs. And what may be of
# a later moment than the rows.
LEFT_OUT = frozenset({"secrets.json", "release.json", "supervisor.json", "supervisor.lock", "acknowledged"})
CHUNK_BYTES = 1_048_576


@dataclass
class ArchiveWriter:
    """A tar file that is being written, and the digests of what is in it."""

    tar: tarfile.TarFile
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    size: int = 0

    def add(self, name: str, pieces: Iterator[bytes], size: int, mode: int = 0o600) -> bool:
        """False where the pieces were fewer bytes than promised: it is padded, and not to be restored."""
        source = PaddedReader(pieces, size)
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, mode, int(time.time())
        self.tar.addfile(info, source)
        if source.short:
            return False
        self.files[name] = {"size": size, "sha256": source.digest.hexdigest()}
        self.size += size
        return True

    def add_json(self, name: str, value: Any) -> None:
        data = json.dumps(value).encode()
        self.add(name, iter([data]), len(data))


class PaddedReader(io.RawIOBase):
    """What tarfile reads from: exactly `size` bytes, whatever becomes of the file meanwhile."""

    def __init__(self, pieces: Iterator[bytes], size: int) -> None:
        self._pieces = pieces
        self._left = size
        self._rest = b""
        self.short = False
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        while len(self._rest) < wanted:
            piece = next(self._pieces, None)
            if piece is None:
                self.short = True
                piece = b"\0" * (wanted - len(self._rest))
            self._rest += piece
        data, self._rest = self._rest[:wanted], self._rest[wanted:]
        self._left -= len(data)
        self.digest.update(data)
        return data
