"""SDK: convert documents, store them with vectors, search them, and answer from them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ilab_jupyter import engine, paths
from ilab_jupyter.configuration.arguments import STORE
from ilab_jupyter.core.calling import defaultmethod
from ilab_jupyter.core.config import Config
from ilab_jupyter.core.taxonomy import Taxonomy, taxonomy_root
from ilab_jupyter.errors import InvalidInput, TeacherError, Unavailable, wrong_field
from ilab_jupyter.progress import ConsoleReporter, Reporter
from ilab_jupyter.retrieval import answering
from ilab_jupyter.retrieval.results import Answer, ConvertResult, Failure, Hit, Hits, Mode, StoreResult
from ilab_jupyter.retrieval.settings import COLLECTION, EMBEDDING_MODEL, ReadSettings, StoreSettings

__all__ = ["RAG", "Answer", "ConvertResult", "Failure", "Hit", "Hits", "StoreResult"]

PathArgument = str | os.PathLike[str]
_READING = ("docling", "pypdfium2")


class RAG:
    """A collection of documents in a store. Each argument is the default of the methods that take it.

    A method that is called on the class has the defaults of `RAG()`.

    `uri` is a local folder (InstructLab's `embeddings.db` where None), `embedding_model` a
    sentence-transformers model: a folder, or a name of one that is on this machine.
    """

    def __init__(
        self,
        uri: PathArgument | None = None,
        collection: str | None = None,
        embedding_model: PathArgument | None = None,
        top_k: int | None = None,
        configuration: Config | Mapping[str, Any] | PathArgument | None = None,
        *,
        input_dir: PathArgument | None = None,
        output_dir: PathArgument | None = None,
        taxonomy_path: PathArgument | None = None,
        taxonomy_base: str | None = None,
    ) -> None:
        self.configuration = Config.of(configuration)
        self.input_dir, self.output_dir = input_dir, output_dir
        self.taxonomy_path, self.taxonomy_base = taxonomy_path, taxonomy_base or "empty"
        given = {"uri": uri, "collection": collection, "embedding_model": embedding_model, "top_k": top_k}
        chosen = {
            **{"collection": COLLECTION, "embedding_model": EMBEDDING_MODEL, "top_k": 3},
            **self.configuration.resolvable.arguments(STORE),
            **{name: value for name, value in given.items() if value is not None},
        }
        self.uri = os.fspath(chosen["uri"]) if "uri" in chosen else None
        self.collection: str = chosen["collection"]
        self.embedding_model = os.fspath(chosen["embedding_model"])
        self.top_k = _between("top_k", chosen["top_k"], 1, 1000)
        self._models: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"RAG({self.uri!r}, collection={self.collection!r})"

    @defaultmethod
    def convert(
        self,
        /,
        input_dir: PathArgument | Sequence[PathArgument] | None = None,
        output_dir: PathArgument | None = None,
        *,
        taxonomy_path: PathArgument | None = None,
        taxonomy_base: str | None = None,
        documents: Mapping[str, str] | None = None,
        reporter: Reporter | None = None,
        **settings: Any,
    ) -> ConvertResult:
        """Documents to Docling JSON below `output_dir`, `converted_documents` in InstructLab's data folder
        where None: `guide.pdf` becomes `guide.pdf.json`.

        Either of a file or folder, or of the knowledge leaves of a taxonomy that are new or changed since
        `taxonomy_base`; `documents` then maps their repositories to local folders. A document that cannot be
        read is in `failures` and stops no other. What was converted already is not read again, and no file
        that this did not make is touched. `settings` are those of `ReadSettings`, such as `max_bytes`.

        NotFound, InvalidInput for arguments; Unprocessable where there is no document at all; Conflict where
        another process writes into the folder; Stopped. Upstream: instructlab `rag.convert`.
        """
        from ilab_jupyter.retrieval import conversion

        if input_dir is None and taxonomy_path is None:
            input_dir, taxonomy_path = self.input_dir, self.taxonomy_path
        if (input_dir is None) == (taxonomy_path is None):
            raise InvalidInput("Give either input_dir or taxonomy_path.", "For documents, give their folder.")
        checked = _checked(ReadSettings, settings)
        engine.require("Reading documents", *_READING)
        chosen: Any = _several(input_dir)
        if taxonomy_path is not None:
            files = tuple(Taxonomy.check(os.fspath(taxonomy_path), taxonomy_base or self.taxonomy_base))
            root = Path(taxonomy_root(os.fspath(taxonomy_path)))
            chosen = conversion.Leaves(root, files, dict(documents or {}))
        target = output_dir or self.output_dir or paths.data_dir() / "converted_documents"
        return conversion.convert(chosen, target, checked, reporter or ConsoleReporter())

    @defaultmethod
    def ingest(
        self,
        /,
        input_dir: PathArgument | None = None,
        *,
        uri: PathArgument | None = None,
        collection: str | None = None,
        embedding_model: PathArgument | None = None,
        prune: bool = False,
        reporter: Reporter | None = None,
        **settings: Any,
    ) -> StoreResult:
        """Cut documents into chunks, embed them, and keep them in the collection.

        `input_dir` is a document, a folder of documents or of Docling JSON, or what `Data.ingest` made; what
        `convert` made where None. A second run changes nothing; a changed document takes the place of its own
        chunks only, in one step for readers; with `prune` those that are gone from the folder are removed.
        What is done stays where the work is stopped or killed, and is passed over the next time.

        Nothing is read before the embedding model is found and its vectors fit the collection: NotFound
        (`model_missing`) or Conflict. Errors of documents are those of `convert`. `settings` are those of
        `ReadSettings`, such as `chunk_tokens`, which the embedding model's length bounds. Upstream:
        instructlab `rag.ingest`.
        """
        from ilab_jupyter.retrieval import indexing

        input_dir = self.input_dir if input_dir is None else input_dir
        given = {
            "input_dir": None if input_dir is None else str(paths.given(input_dir)),
            "uri": self.uri if uri is None else os.fspath(uri),
            "collection": self.collection if collection is None else collection,
            "embedding_model": os.fspath(embedding_model or self.embedding_model),
            "prune": prune,
        }
        checked = _checked(StoreSettings, {**settings, **given})
        engine.require("RAG", "lancedb", "sentence_transformers", "docling", extra="rag")
        return indexing.index(checked, reporter or ConsoleReporter())

    @defaultmethod
    def search(
        self,
        query: str,
        top_k: int | None = None,
        mode: Mode = "hybrid",
        *,
        min_similarity: float | None = None,
    ) -> Hits:
        """The `top_k` best chunks for `query`: by words (`text`, BM25), by meaning (`vector`, cosine), or by
        the rank in both (`hybrid`, reciprocal rank fusion).

        `min_similarity` leaves out what is farther from the question, by cosine; it has no meaning for
        `text`. NotFound where there is no such collection or model, Conflict where the model is not the one
        that the collection was embedded with.
        """
        from ilab_jupyter.retrieval import indexing, store

        if mode not in ("hybrid", "vector", "text"):
            raise InvalidInput(f"There is no mode {mode!r}.", "Choose hybrid, vector or text.")
        text = indexing.check_question(query)
        limit = _between("top_k", self.top_k if top_k is None else top_k, 1, 1000)
        engine.require("RAG", "lancedb", extra="rag")
        collection = store.Collection.open(store.store_path(self.uri), store.check_name(self.collection))
        vector = None
        if mode != "text":
            model = self._model()
            collection.check(store.Embedding(model.name, model.dimension, model.fingerprint))
            vector = model.queries([text])[0].tolist()
        hits = collection.search(text, vector, limit, mode)
        if min_similarity is not None:
            hits = [hit for hit in hits if hit.similarity is None or hit.similarity >= min_similarity]
        return Hits(query=text, mode=mode, hits=tuple(hits))

    @defaultmethod
    def answer(
        self,
        question: str,
        client: Any = None,
        *,
        model: str | None = None,
        top_k: int | None = None,
        mode: Mode = "hybrid",
        min_similarity: float | None = None,
        max_tokens: int = 512,
        api_key_env: str = "ILAB_TEACHER_API_KEY",
        timeout: float = 120.0,
    ) -> Answer:
        """What a model says to `question` from the passages that `search` finds, with those that it cites.

        `client` is an openai client, or the base URL of an OpenAI-compatible server, whose key is in the
        environment variable `api_key_env`; `model` its model, the first that it lists where None. Where
        nothing is found no model is called, and `found` is False, as where the model says that the passages
        do not answer. The passages reach the model as quoted data; a model may still be misled by them.

        Unavailable where the server cannot be reached or refuses; the errors of `search`.
        """
        if client is None:
            raise InvalidInput(
                "No model was given.",
                "Give an openai client, or an address that ends in /v1, as client.",
            )
        hits = self.search(question, top_k, mode, min_similarity=min_similarity).hits
        text = question.strip()
        if not hits:
            return answering.nothing(text)
        own = isinstance(client, str)
        connection = _connected(client, api_key_env, timeout) if own else client
        try:
            name = model or answering.first_model(connection)
            return answering.answer(
                text, hits, connection, name, _between("max_tokens", max_tokens, 1, 1_048_576)
            )
        except TeacherError as error:
            raise Unavailable(error.message.replace("teacher", "model server"), error.hint) from error
        finally:
            if own:
                connection.close()

    def _model(self) -> Any:
        """The embedding model, loaded once."""
        from ilab_jupyter.retrieval.embedding import EmbeddingModel

        if self.embedding_model not in self._models:
            self._models[self.embedding_model] = EmbeddingModel(self.embedding_model)
        return self._models[self.embedding_model]


def _connected(url: str, api_key_env: str, timeout: float) -> Any:
    """A client for `url` that follows no redirect and never asks a cloud's metadata service."""
    engine.require("RAG", "openai")
    import httpx
    import openai

    from ilab_jupyter.synthesis.settings import TeacherSettings
    from ilab_jupyter.synthesis.teachers.network import CheckedTransport

    settings = _checked(
        TeacherSettings, {"kind": "openai", "url": url, "api_key_env": api_key_env, "timeout": timeout}
    )
    return openai.OpenAI(
        base_url=settings.url,
        # servers on one's own machine ask for no key, but the client insists on one
        api_key=os.environ.get(settings.api_key_env) or "none",
        organization="",
        project="",
        timeout=settings.timeout,
        http_client=httpx.Client(
            transport=CheckedTransport(), timeout=settings.timeout, follow_redirects=False
        ),
    )


def _checked(model: type[Any], fields: Mapping[str, Any]) -> Any:
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        raise InvalidInput(f"{wrong_field(error.errors()[0])}.", "See the arguments of RAG.") from None


def _several(given: Any) -> list[PathArgument]:
    return [given] if isinstance(given, str | os.PathLike) else list(given or ())


def _between(name: str, value: int, least: int, most: int) -> int:
    if not isinstance(value, int) or not least <= value <= most:
        raise InvalidInput(f"{name} is a whole number between {least} and {most:,}.", "Choose another one.")
    return value
