"""Embedding models of sentence-transformers: found locally, checked before they are loaded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilab_jupyter import engine, paths
from ilab_jupyter.errors import NotFound, Unprocessable
from ilab_jupyter.registry.folder import read_json
from ilab_jupyter.registry.names import HUB_ID, PART, existing

if TYPE_CHECKING:
    import numpy

_OURS = "sentence_transformers."
_DECIDING = frozenset({".json", ".safetensors", ".txt", ".model"})


class EmbeddingModel:
    """An embedding model that returns unit vectors of size `dimension`, so that a dot product is a cosine.

    `fingerprint` is a hash of all files that determine the vectors; vectors with different fingerprints are
    not comparable.
    """

    def __init__(self, name: str, device: str = "auto") -> None:
        """Load a model: a folder, a model below InstructLab's models folder, or one in the hub's cache.

        Nothing is downloaded. Raises NotFound if the model is not on this machine, Unprocessable if the
        folder is not a sentence-transformers model, contains custom code, or has its weights only as pickles.
        """
        self.name = name
        self.folder = find(name)
        _check(self.folder)
        self.fingerprint = _fingerprint(self.folder)
        engine.require("RAG", "sentence_transformers", extra="rag")
        from sentence_transformers import SentenceTransformer

        self._model: Any = SentenceTransformer(
            str(self.folder),
            device=engine.choose_device(device),
            local_files_only=True,
            trust_remote_code=False,
        )
        self.dimension = len(self.queries(["dimension"])[0])

    @property
    def max_tokens(self) -> int | None:
        """Number of tokens after which texts are truncated, or None for no limit."""
        most = getattr(self._model, "max_seq_length", None)
        return int(most) if isinstance(most, int | float) and most < 10**9 else None

    def documents(self, texts: Sequence[str]) -> numpy.ndarray[Any, Any]:
        """Return the vectors of passages, float32 of shape (texts, dimension)."""
        return self._numbers(self._model.encode_document(list(texts), **_QUIETLY))

    def queries(self, texts: Sequence[str]) -> numpy.ndarray[Any, Any]:
        """Return the vectors of questions, float32 of shape (texts, dimension)."""
        return self._numbers(self._model.encode_query(list(texts), **_QUIETLY))

    @staticmethod
    def _numbers(found: Any) -> numpy.ndarray[Any, Any]:
        import numpy

        # a text without any known word may give NaN
        return numpy.nan_to_num(numpy.asarray(found, dtype=numpy.float32))


_QUIETLY = {
    "normalize_embeddings": True,
    "show_progress_bar": False,
    "convert_to_numpy": True,
    "batch_size": 32,
}


def find(name: str) -> Path:
    """Return the local folder of an embedding model. Raises NotFound if it is not on this machine."""
    named = HUB_ID.fullmatch(name) or PART.fullmatch(name)
    for position in (existing(name), existing(str(paths.models_dir() / name)) if named else None):
        if position is not None and position.is_dir():
            return position.absolute()
    if HUB_ID.fullmatch(name):
        engine.require("RAG", "huggingface_hub", extra="rag")
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(name, local_files_only=True))
        except (OSError, ValueError):
            pass
    raise NotFound(
        f"The embedding model {name!r} is not on this machine.",
        "Download it first, or give the folder of one as embedding_model.",
        cause="model_missing",
    )


def _check(folder: Path) -> None:
    """Raise Unprocessable if loading the folder would run custom code or unpickle weights."""
    if not (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
        raise Unprocessable(
            f"{folder.name} is no embedding model: it has neither modules.json nor config.json.",
            "Give the folder of a sentence-transformers model.",
        )
    weights = [path for path in folder.rglob("*") if path.suffix in (".safetensors", ".bin", ".pt", ".ckpt")]
    safe = {path.parent for path in weights if path.suffix == ".safetensors"}
    for path in weights:
        if path.parent not in safe:
            raise Unprocessable(
                f"The weights of {folder.name} are a pickle ({path.name}); loading one can run any code.",
                "Get its safetensors version.",
            )
    for file in folder.rglob("*config.json"):
        if read_json(file).get("auto_map"):
            raise Unprocessable(
                f"{folder.name} brings its own code ({file.name}), which is never run here.",
                "Choose a model whose architecture is part of the transformers library.",
            )
    modules = folder / "modules.json"
    if modules.is_file() and any(not kind.startswith(_OURS) for kind in _types(modules)):
        raise Unprocessable(
            f"{folder.name} names modules of its own in modules.json, which are never run here.",
            "Choose a model that is made of sentence-transformers' own modules.",
        )


def _types(modules: Path) -> list[str]:
    import json

    try:
        listed = json.loads(modules.read_bytes())
        return [str(entry["type"]) for entry in listed]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Unprocessable(
            "modules.json of the embedding model cannot be read.", "Download it again."
        ) from None


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in _DECIDING and path.is_file()):
        digest.update(os.fsencode(path.relative_to(folder)) + b"\0")
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
