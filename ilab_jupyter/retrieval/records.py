"""Records that map each file of an output folder to its document; other files are not changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from ilab_jupyter.durable import make_folder, write_durably
from ilab_jupyter.progress import Reporter
from ilab_jupyter.retrieval.reading import Known, Product, Read, failure, read
from ilab_jupyter.retrieval.results import Document, Failure, Loss, Result
from ilab_jupyter.retrieval.settings import ReadSettings
from ilab_jupyter.retrieval.sources import Source
from ilab_jupyter.retrieval.unreadable import Unreadable


class Record(Result):
    """The result for a document, and the version of the document that it belongs to."""

    version: str
    document: Document
    losses: tuple[str, ...]

    def warnings(self) -> list[Loss]:
        """Return the losses, each with the document's name."""
        return [Loss(document=self.document.name, message=loss) for loss in self.losses]


class Records:
    """Records of `folder`, stored in its hidden folder `hidden`, one file for each document.

    A file is written before its record, so after a crash in between the file is written again.
    """

    def __init__(self, folder: Path, hidden: Path, product: Product) -> None:
        self.folder = folder
        self._hidden = hidden
        self._product = product
        self._records: dict[str, Record] = {}
        for file in sorted(hidden.glob("*.json")):
            try:
                record = Record.model_validate_json(file.read_bytes())
            except (OSError, ValidationError):
                continue  # a damaged record is ignored: the document is read again
            self._records[record.document.name] = record

    def __iter__(self) -> Iterator[Record]:
        return iter(sorted(self._records.values(), key=lambda record: record.document.name))

    def get(self, name: str) -> Record:
        """Return the record of a document. Raises KeyError if there is none."""
        return self._records[name]

    def holds(self, source: Source, version: str) -> bool:
        """Return whether this version of the document is recorded and its files exist."""
        record = self._records.get(source.name)
        if record is None or record.version != version:
            return False
        made = record.document.output
        return made is not None and (self.folder / made).is_file() and self._chunks_are_here(record)

    def keep(self, read: Read) -> Record:
        """Write the result to its path and record it.

        Raises Unreadable if another document or an unrelated file has the same path.
        """
        name = read.source.name
        output = f"{name}.{'json' if self._product == 'json' else 'md'}"
        if read.source.format == "markdown" and self._product == "markdown":
            output = str(Path(name).with_suffix(".md"))
        target, made = self.folder / output, read.files[self._product].read_bytes()
        owner = next((record for record in self if record.document.output == output), None)
        if owner is not None and owner.document.name != name:
            raise Unreadable(
                "conflict", f"{owner.document.name} has become {output} already.", "Rename one of them."
            )
        if owner is None and (target.is_symlink() or (target.exists() and not _same(target, made))):
            raise Unreadable(
                "conflict",
                f"{output} exists in the output folder and was not made of it.",
                "Choose another output folder, or move that file.",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        write_durably(target, made, mode=0o666)
        make_folder(self._hidden)
        if "chunks" in read.files:
            write_durably(self.chunks(name), read.files["chunks"].read_bytes(), mode=0o666)
        record = Record(
            version=read.version,
            document=read.document.model_copy(update={"output": output}),
            losses=read.losses,
        )
        write_durably(self._file(name, "json"), record.model_dump_json().encode(), mode=0o666)
        self._records[name] = record
        return record

    def forget(self, name: str) -> None:
        """Remove the record of a document, then its files."""
        record = self._records.pop(name)
        self._file(name, "json").unlink(missing_ok=True)
        self.chunks(name).unlink(missing_ok=True)
        if record.document.output is not None:
            (self.folder / record.document.output).unlink(missing_ok=True)

    def chunks(self, name: str) -> Path:
        """Return the path of the file with the chunks of one document."""
        return self._file(name, "jsonl")

    def _chunks_are_here(self, record: Record) -> bool:
        return self._product == "json" or self.chunks(record.document.name).is_file()

    def _file(self, name: str, suffix: str) -> Path:
        return self._hidden / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.{suffix}"


@dataclass
class Update:
    """The outcome for the documents of a run."""

    kept: list[Record] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unchanged: int = 0

    @property
    def documents(self) -> tuple[Document, ...]:
        """The documents with a result."""
        return tuple(record.document for record in self.kept)

    @property
    def warnings(self) -> tuple[Loss, ...]:
        """The losses of all documents with a result."""
        return tuple(warning for record in self.kept for warning in record.warnings())

    def tell(self, reporter: Reporter) -> None:
        """Report the losses and the documents that could not be read."""
        for warning in self.warnings:
            reporter.warning(str(warning))
        for failed in self.failures:
            reporter.warning(f"{failed.document}: {failed.message}", failed.hint)


def update(
    records: Records,
    sources: Iterable[Source],
    wanted: Iterable[Product],
    settings: ReadSettings,
    work: Path,
    reporter: Reporter,
) -> Update:
    """Read the documents that `records` does not contain yet and record their results."""
    done = Update()
    for one in read(sources, wanted, settings, work, records.holds, reporter):
        if isinstance(one, Failure):
            done.failures.append(one)
        elif isinstance(one, Known):
            done.unchanged += 1
            done.kept.append(records.get(one.source.name))
        else:
            try:
                done.kept.append(records.keep(one))
            except Unreadable as error:
                done.failures.append(failure(one.source, error))
    return done


def _same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content
