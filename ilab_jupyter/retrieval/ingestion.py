"""Convert new and changed documents to markdown and chunks in a folder, with a manifest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from ilab_jupyter import paths
from ilab_jupyter.durable import write_durably
from ilab_jupyter.progress import Reporter
from ilab_jupyter.retrieval import knowledge, sources
from ilab_jupyter.retrieval.folder_lock import claimed
from ilab_jupyter.retrieval.records import Records, update
from ilab_jupyter.retrieval.results import IngestResult
from ilab_jupyter.retrieval.settings import ReadSettings

MANIFEST = "ingest.json"
CHUNKS = "chunks.jsonl"
HIDDEN = ".ilab-ingest"


def ingest(
    documents: Sequence[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str] | None,
    settings: ReadSettings,
    reporter: Reporter,
    *,
    prune: bool = False,
    as_knowledge: bool | str | os.PathLike[str] = False,
) -> IngestResult:
    """See `core.Data.ingest`."""
    folder = paths.given(output_dir).absolute() if output_dir else paths.data_dir() / "documents"
    reporter.phase("looking", ", ".join(str(path) for path in documents))
    found = sources.find(documents, max_documents=settings.max_documents, output=folder)
    with claimed(folder / HIDDEN) as work:
        records = Records(folder, folder / HIDDEN / "records", "markdown")
        reporter.phase("reading", f"{len(found.sources)} documents")
        done = update(records, found.sources, ("markdown", "chunks"), settings, work, reporter)
        done.tell(reporter)
        reporter.phase("saving", str(folder))
        if prune:
            here = {source.name for source in found.sources}
            for record in [record for record in records if record.document.name not in here]:
                records.forget(record.document.name)
        manifest = _manifest(records, settings)
        if _differs(folder / MANIFEST, manifest) or not (folder / CHUNKS).is_file():
            _join_chunks(records, work / "joined", folder / CHUNKS)
            write_durably(folder / MANIFEST, manifest, mode=0o666)
        commit = None
        if as_knowledge:
            position = default_repository(folder) if as_knowledge is True else paths.given(as_knowledge)
            made = [str(record.document.output) for record in records]
            commit = knowledge.commit(
                folder, [file for file in made if (folder / file).is_file()], position.absolute()
            )
        reporter.artifact("file", folder.name, folder)
        return IngestResult(
            documents=done.documents,
            failures=tuple(done.failures),
            warnings=done.warnings,
            skipped=dict(found.skipped),
            unchanged=done.unchanged,
            path=str(folder),
            chunks_file=str(folder / CHUNKS),
            manifest=str(folder / MANIFEST),
            knowledge=commit,
        )


def default_repository(folder: Path) -> Path:
    """Return the default repository for the markdown of an output folder, below InstructLab's data folder."""
    mark = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    return paths.data_dir() / "knowledge" / f"{folder.name}-{mark}"


def _manifest(records: Records, settings: ReadSettings) -> bytes:
    content = {
        "format": 1,
        "chunk_tokens": settings.chunk_tokens,
        "documents": [
            {**record.document.model_dump(mode="json"), "version": record.version, "warnings": record.losses}
            for record in records
        ],
    }
    return json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n"


def _differs(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() != content
    except OSError:
        return True


def _join_chunks(records: Records, joined: Path, target: Path) -> None:
    with joined.open("wb") as whole:
        for record in records:
            whole.write(records.chunks(record.document.name).read_bytes())
        whole.flush()
        os.fsync(whole.fileno())
    joined.replace(target)
