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
# Settings of the database itself, not of the jobs.
OWN_SETTINGS = frozenset({"schema", FOLDER})
# Secrets, and files of a running process: a restored job must not be mistaken for a running one. And a file
# that may be newer than the rows.
LEFT_OUT = frozenset({"secrets.json", "release.json", "supervisor.json", "supervisor.lock", "acknowledged"})
CHUNK_BYTES = 1_048_576


@dataclass
class ArchiveWriter:
    """A tar file being written, with the digests of its files."""

    tar: tarfile.TarFile
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    size: int = 0

    def add(self, name: str, pieces: Iterator[bytes], size: int, mode: int = 0o600) -> bool:
        """Add a file. Returns False if it was shorter than `size`: it is padded and will not be restored."""
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
        """Add a JSON document."""
        data = json.dumps(value).encode()
        self.add(name, iter([data]), len(data))


class PaddedReader(io.RawIOBase):
    """The stream that tarfile reads: exactly `size` bytes, even if the source file shrinks meanwhile."""

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
