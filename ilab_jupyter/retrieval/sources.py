"""Find documents below folders, without following links, and take snapshots of them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ilab_jupyter.errors import InvalidInput, NotFound, TooLarge, Unprocessable
from ilab_jupyter.retrieval.unreadable import Unreadable

FORMATS = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".docx": "docx",
    ".pptx": "pptx",
    ".csv": "csv",
    ".txt": "text",
    ".pdf": "pdf",
}
DOCLING = {".json": "docling"}
_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class Source:
    """A document: `name` is its path below `folder`."""

    name: str
    folder: Path
    path: Path
    format: str


@dataclass(frozen=True)
class Snapshot:
    """A private copy of a document's bytes."""

    path: Path
    sha256: str
    size: int


@dataclass
class Found:
    """Documents sorted by name, and the number of skipped files by kind."""

    sources: list[Source] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def find(
    documents: Sequence[str | os.PathLike[str]],
    *,
    max_documents: int,
    formats: dict[str, str] = FORMATS,
    output: Path | None = None,
) -> Found:
    """Find the documents in `documents` (files and folders), except hidden ones and those below `output`.

    Raises NotFound for a path that does not exist; InvalidInput for a file of unknown format, two documents
    of the same name, or documents directly in `output`; TooLarge for more than `max_documents`; Unprocessable
    if there are no documents.
    """
    found = Found()
    output = None if output is None else output.resolve()
    taken: dict[str, Path] = {}
    for given in documents:
        for source in _below(_existing(given), formats, output, found.skipped):
            if source.folder == output:
                raise InvalidInput(
                    f"{output} holds the documents themselves.",
                    "Choose another folder for what is made of them.",
                )
            if taken.setdefault(source.name, source.path) != source.path:
                raise InvalidInput(
                    f"{source.path} and {taken[source.name]} would both become {source.name!r}.",
                    "Give the folder above both, or each its own output folder.",
                )
            found.sources.append(source)
            if len(found.sources) > max_documents:
                raise TooLarge(
                    f"There are more than {max_documents:,} documents.",
                    "Give a smaller folder, or raise max_documents.",
                )
    if not found.sources:
        known = ", ".join(formats)
        raise Unprocessable(
            f"There is no document in {', '.join(str(path) for path in documents)}.",
            f"These are read: {known}.",
            cause="data_missing",
        )
    found.sources = sorted({source.name: source for source in found.sources}.values(), key=lambda s: s.name)
    return found


def snapshot(source: Source, folder: Path, max_bytes: int) -> Snapshot:
    """Copy the document into `folder`, so that the bytes that are hashed are the bytes that are read.

    Pipes and devices do not block, and a link that replaced the file is not followed. Raises Unreadable if
    the document cannot be read, is empty, or is larger than `max_bytes`.
    """
    target = folder / f"document{source.path.suffix.lower()}"
    digest, size = hashlib.sha256(), 0
    try:
        # without O_NONBLOCK, opening a pipe would wait for a writer
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(source.path, flags), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Unreadable("unreadable", "It is no regular file.")
            if status.st_size > max_bytes:
                raise _too_large(status.st_size, max_bytes)
            with target.open("wb") as copy:
                while block := stream.read(_BLOCK):
                    size += len(block)
                    if size > max_bytes:
                        raise _too_large(size, max_bytes)
                    digest.update(block)
                    copy.write(block)
    except OSError as error:
        if error.filename == os.fspath(target) or error.filename is None:
            raise  # a failure to write the copy, not to read the document
        said = error.strerror or "it cannot be opened"
        raise Unreadable("unreadable", f"It cannot be read: {said}.", "Give yourself permission.") from None
    if size == 0:
        raise Unreadable("empty", "It is empty.")
    return Snapshot(target, digest.hexdigest(), size)


def _existing(given: str | os.PathLike[str]) -> Path:
    try:
        path = Path(given).expanduser()
        mode = path.stat().st_mode
    except (OSError, ValueError, RuntimeError):
        raise NotFound(
            f"There is no file or folder {os.fspath(given)!r}.", "Correct the path.", cause="data_missing"
        ) from None
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InvalidInput(f"{path} is neither a file nor a folder.", "Give a document or a folder of some.")
    # a link is followed if it is given explicitly
    return path.resolve()


def _below(
    path: Path, formats: dict[str, str], output: Path | None, skipped: Counter[str]
) -> Iterator[Source]:
    if path.is_file():
        known = formats.get(path.suffix.lower())
        if known is None:
            raise InvalidInput(
                f"{path.name} is of no format that is read.", f"These are: {', '.join(formats)}."
            )
        yield Source(path.name, path.parent, path, known)
        return
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            skipped["folder without permission"] += 1
            continue
        for entry in entries:
            below = Path(entry.path)
            if entry.name.startswith((".", "~$")) or below == output:
                continue
            if entry.is_symlink():
                skipped["link"] += 1
            elif entry.is_dir():
                waiting.append(below)
            elif not entry.is_file():
                skipped["no file"] += 1
            elif (known := formats.get(below.suffix.lower())) is None or not _is_text(entry.name):
                skipped[below.suffix.lower() if known is None else "name that is no text"] += 1
            else:
                yield Source(below.relative_to(path).as_posix(), path, below, known)


def _is_text(name: str) -> bool:
    """Return whether the name is printable and valid UTF-8, as JSON and markdown require."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return name.isprintable()


def _too_large(size: int, limit: int) -> Unreadable:
    return Unreadable(
        "too_large",
        f"It has {size / 1e6:,.0f} MB or more; {limit / 1e6:,.0f} MB are the limit.",
        "Split it, or raise max_bytes.",
    )
