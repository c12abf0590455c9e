"""Collections of chunks and vectors in LanceDB, an embedded database: many readers, one writer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilab_jupyter import engine, paths
from ilab_jupyter.errors import Conflict, InvalidInput, NotFound, Unprocessable
from ilab_jupyter.registry.names import PART
from ilab_jupyter.retrieval.results import Hit, Mode

if TYPE_CHECKING:
    import pyarrow  # type: ignore[import-untyped]

_KEY = b"ilab.embedding"
# Fetch more candidates than requested, so that the two rankings overlap.
_CANDIDATES = 4
_INDEX = "content_words"


@dataclass(frozen=True)
class Embedding:
    """The embedding model of a collection's vectors."""

    model: str
    dimension: int
    fingerprint: str


def store_path(uri: str | None) -> Path:
    """Return the folder of a store. Raises InvalidInput for a remote address, Conflict for a file."""
    folder = paths.data_dir() / "embeddings.db"
    if uri is not None:
        local = uri.removeprefix("file://")
        if "://" in local or "\0" in local or not local:
            raise InvalidInput(
                f"{uri[:200]!r} is no local folder.", "Give a path; stores are local files here."
            )
        folder = paths.given(local).absolute()
    if folder.is_file():
        raise Conflict(
            f"{folder} is a file, perhaps a store that InstructLab made.",
            "Give another uri, of a new folder.",
        )
    return folder


def check_name(collection: str) -> str:
    """Return the name. Raises InvalidInput if it is not valid."""
    if not PART.fullmatch(collection):
        raise InvalidInput(
            f"{collection[:80]!r} cannot name a collection.", "Use letters, digits, '.', '_' and '-'."
        )
    return collection


class Collection:
    """One table of a store. A row is a chunk: folder, document, version, number, headings, page, content."""

    def __init__(self, table: Any, name: str) -> None:
        self._table = table
        self.name = name
        try:
            self.embedding = Embedding(**json.loads((table.schema.metadata or {})[_KEY]))
        except (KeyError, ValueError, TypeError):
            raise Conflict(
                f"The collection {name!r} was not made by this project.", "Choose another name for yours."
            ) from None

    @classmethod
    def open(cls, folder: Path, name: str) -> Collection:
        """Open a collection. Raises NotFound if there is none of this name."""
        database = _connect(folder, name)
        if database is None:
            raise NotFound(
                f"There is no collection {name!r} in {folder}.",
                "Ingest documents into it first.",
                cause="data_missing",
            )
        return cls(database.open_table(name), name)

    @classmethod
    def open_or_make(cls, folder: Path, name: str, embedding: Embedding) -> Collection:
        """Open a collection, or create it. Raises Conflict if its vectors are those of another model."""
        database = _connect(folder, name)
        if database is None:
            import lancedb

            database = lancedb.connect(str(folder))
            table = database.create_table(name, schema=_schema(embedding), exist_ok=True)
        else:
            table = database.open_table(name)
        found = cls(table, name)
        found.check(embedding)
        return found

    def check(self, embedding: Embedding) -> None:
        """Raise Conflict if `embedding` is not the model of this collection."""
        mine = self.embedding
        if (mine.fingerprint, mine.dimension) != (embedding.fingerprint, embedding.dimension):
            what = "another version of it" if mine.model == embedding.model else embedding.model
            raise Conflict(
                f"The collection {self.name!r} was embedded with {mine.model} ({mine.dimension} dimensions), "
                f"not with {what} ({embedding.dimension}).",
                f"Give embedding_model={mine.model!r}, or ingest into another collection.",
            )

    def __len__(self) -> int:
        return int(self._table.count_rows())

    def versions(self, folder: str) -> dict[str, str]:
        """Return the version of each document that was ingested from `folder`."""
        rows = self._rows(f"folder = {_quoted(folder)}", ["document", "version"])
        return {row["document"]: row["version"] for row in rows}

    def vectors(self, folder: str, document: str) -> dict[str, list[float]]:
        """Return the vectors of a document's chunks, by content."""
        wanted = f"folder = {_quoted(folder)} AND document = {_quoted(document)}"
        return {row["content"]: row["vector"] for row in self._rows(wanted, ["content", "vector"])}

    def replace(self, folder: str, documents: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> int:
        """Replace the rows of `documents` by `rows` atomically; return the number of earlier rows."""
        import pyarrow

        listed = ", ".join(map(_quoted, documents))
        theirs = f"folder = {_quoted(folder)} AND document IN ({listed})"
        before = int(self._table.count_rows(theirs))
        if not rows:
            if before:
                self._table.delete(theirs)
            return before
        merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        merge = merge.when_not_matched_by_source_delete(theirs)
        merge.execute(pyarrow.Table.from_pylist(list(rows), schema=self._table.schema))
        return before

    def settle(self) -> None:
        """Update the full-text index and compact the table's files."""
        from lancedb.index import FTS

        indices = [index for index in self._table.list_indices() if index.columns == ["content"]]
        if not any(index.name == _INDEX for index in indices):
            # keep stop words: `C` and `5` are among them
            words = FTS(base_tokenizer="icu", remove_stop_words=False)
            self._table.create_index("content", config=words, name=_INDEX)
            for index in indices:
                self._table.drop_index(index.name)
        self._table.optimize(cleanup_older_than=timedelta(days=1))

    def search(self, query: str, vector: Sequence[float] | None, limit: int, mode: Mode) -> list[Hit]:
        """Return the best hits. `vector` is that of the query; mode `text` does not need it."""
        from lancedb import query as queries

        make: Any = queries.MatchQuery
        words = make(query, "content")
        if mode == "text":
            found = self._table.search(words, query_type="fts").limit(limit)
        elif mode == "vector":
            found = self._table.search(vector, vector_column_name="vector").distance_type("dot").limit(limit)
        else:
            from lancedb.rerankers import RRFReranker

            both = self._table.search(query_type="hybrid", vector_column_name="vector").vector(vector)
            both = both.text(words).distance_type("dot")
            found = both.rerank(reranker=RRFReranker()).limit(limit * _CANDIDATES)
        hits = [_hit(row, vector, mode) for row in found.to_list()[:limit]]
        return hits if mode == "vector" else self._with_literal(query, vector, hits, limit, mode)

    def _with_literal(
        self, query: str, vector: Sequence[float] | None, hits: list[Hit], limit: int, mode: Mode
    ) -> list[Hit]:
        """Return the hits, those that contain the query's terms with symbols (`C++`, `$5`) first.

        The full-text index contains only the letters and digits of such terms.
        """
        terms = literal_terms(query)
        if not terms:
            return hits
        wanted = " OR ".join(f"contains(lower(content), {_quoted(term.lower())})" for term in terms)
        names = ["folder", "document", "number", "headings", "page", "content", "vector"]
        rows = self._table.search().where(wanted).select(names).limit(limit * _CANDIDATES).to_list()
        best = max((hit.score for hit in hits), default=0.0)
        known = {(hit.folder, hit.document, hit.number): hit for hit in hits}
        exact = {}
        for row in rows:
            key = (row["folder"], row["document"], row["number"])
            hit = known.get(key) or _hit({**row, "_score": 0.0, "_relevance_score": 0.0}, vector, mode)
            count = sum(term.lower() in row["content"].lower() for term in terms)
            exact[key] = hit.model_copy(update={"score": hit.score + count * (best or 1.0)})
        first = sorted(exact.values(), key=lambda hit: -hit.score)
        rest = [hit for key, hit in known.items() if key not in exact]
        return [*first, *rest][:limit]

    def _rows(self, where: str, columns: list[str]) -> Iterable[dict[str, Any]]:
        count = int(self._table.count_rows(where))
        if not count:
            return []
        rows: list[dict[str, Any]] = self._table.search().where(where).select(columns).limit(count).to_list()
        return rows


def literal_terms(query: str) -> list[str]:
    """Return the words of a query that contain symbols, such as `C++`, `$5`, `.NET` and `&&`."""
    words = (
        word.strip("\"'()[]{}<>,;:!?\u00bf\u00a1\u201c\u201d\u2018\u2019\u00ab\u00bb")
        for word in query.split()
    )
    kept = (word.rstrip(".") if re.search(r"\w\.+$", word) else word for word in words)
    return [word for word in dict.fromkeys(kept) if re.search(r"[^\w\s'\u2019-]", word)]


def _connect(folder: Path, name: str) -> Any:
    """Return the database, or None if it has no such table."""
    engine.require("RAG", "lancedb", extra="rag")
    import lancedb

    if not (folder / f"{name}.lance").is_dir():
        return None
    # every read sees the writes of other processes
    return lancedb.connect(str(folder), read_consistency_interval=timedelta(0))


def _schema(embedding: Embedding) -> pyarrow.Schema:
    import pyarrow

    text = pyarrow.string()
    fields = [
        *(pyarrow.field(name, text, nullable=False) for name in ("id", "folder", "document", "version")),
        pyarrow.field("number", pyarrow.int32(), nullable=False),
        pyarrow.field("headings", pyarrow.list_(text)),
        pyarrow.field("page", pyarrow.int32()),
        pyarrow.field("content", text, nullable=False),
        pyarrow.field("vector", pyarrow.list_(pyarrow.float32(), embedding.dimension)),
    ]
    described = {
        "model": embedding.model,
        "dimension": embedding.dimension,
        "fingerprint": embedding.fingerprint,
    }
    return pyarrow.schema(fields, metadata={_KEY: json.dumps(described).encode()})


def _hit(row: Mapping[str, Any], vector: Sequence[float] | None, mode: Mode) -> Hit:
    headings = tuple(row["headings"] or ())
    similarity = None
    if mode != "text" and vector is not None:
        similarity = float(sum(mine * yours for mine, yours in zip(row["vector"], vector, strict=True)))
    scores = {"text": row.get("_score"), "vector": similarity, "hybrid": row.get("_relevance_score")}
    score = scores[mode]
    if score is None:
        raise Unprocessable("The store gave a row without a score.", "Ingest the documents again.")
    return Hit(
        document=row["document"],
        folder=row["folder"],
        number=row["number"],
        headings=headings,
        page=row["page"],
        # the content begins with the headings
        text=row["content"][sum(len(heading) + 1 for heading in headings) :],
        score=float(score),
        similarity=similarity,
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
