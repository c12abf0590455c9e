"""Convert documents to Docling JSON in a folder, one file each, like InstructLab's `rag convert`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ilab_jupyter import paths
from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.progress import Reporter
from ilab_jupyter.retrieval import sources
from ilab_jupyter.retrieval.folder_lock import claimed
from ilab_jupyter.retrieval.records import Records, update
from ilab_jupyter.retrieval.results import ConvertResult
from ilab_jupyter.retrieval.settings import ReadSettings
from ilab_jupyter.taxonomy import documents as leaf_documents
from ilab_jupyter.taxonomy import qna, yamltext

HIDDEN = ".ilab-convert"


@dataclass(frozen=True)
class Leaves:
    """The leaves `files` of the taxonomy at `root`; `positions` maps repositories to local folders."""

    root: Path
    files: tuple[str, ...]
    positions: Mapping[str, str] = field(default_factory=dict)

    def gather(self, target: Path, reporter: Reporter) -> Path:
        """Copy the documents of the knowledge leaves into the new folder `target`, below the leaves' paths.

        Raises Unprocessable, with file and line, if a leaf's documents are not available, or if there is no
        knowledge leaf; Stopped on a stop request while they are fetched.
        """
        limits = leaf_documents.Limits(stopping=lambda: reporter.stopping)
        shutil.rmtree(target, ignore_errors=True)
        knowledge = 0
        for file in self.files:
            text = yamltext.read((self.root / file).read_bytes())
            if qna.kind_of(text.contents) != "knowledge":
                continue
            knowledge += 1
            aside = target.with_name(f"{target.name}.leaf")
            shutil.rmtree(aside, ignore_errors=True)
            findings = leaf_documents.gather(self.root, file, text, aside, self.positions, limits)
            for finding in findings:
                if finding.severity == "error":
                    raise Unprocessable(str(finding), cause="no_documents")
            # The folder may exist already, created for a leaf below this one.
            shutil.copytree(aside, target / Path(file).parent, dirs_exist_ok=True)
            shutil.rmtree(aside)
        if not knowledge:
            raise Unprocessable(
                f"No leaf of {self.root} teaches knowledge, so there are no documents.",
                "Give a folder of documents instead.",
                cause="no_documents",
            )
        return target


def convert(
    documents: Sequence[str | os.PathLike[str]] | Leaves,
    output_dir: str | os.PathLike[str],
    settings: ReadSettings,
    reporter: Reporter,
) -> ConvertResult:
    """See `core.RAG.convert`."""
    folder = paths.given(output_dir).absolute()
    limit = settings.max_documents
    if not isinstance(documents, Leaves):
        reporter.phase("looking", ", ".join(str(path) for path in documents))
        found = sources.find(documents, max_documents=limit, output=folder)
    with claimed(folder / HIDDEN) as work:
        if isinstance(documents, Leaves):
            reporter.phase("fetching", str(documents.root))
            gathered = documents.gather(folder / HIDDEN / "documents", reporter)
            found = sources.find([gathered], max_documents=limit)
        records = Records(folder, folder / HIDDEN / "records", "json")
        reporter.phase("reading", f"{len(found.sources)} documents")
        done = update(records, found.sources, ("json",), settings, work, reporter)
        done.tell(reporter)
        return ConvertResult(
            documents=done.documents,
            failures=tuple(done.failures),
            warnings=done.warnings,
            skipped=dict(found.skipped),
            unchanged=done.unchanged,
            path=str(folder),
        )
