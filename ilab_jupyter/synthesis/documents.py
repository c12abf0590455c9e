"""The documents of a knowledge leaf as chunks for instructlab-sdg. An error of docling names the document."""

from __future__ import annotations

import importlib
import logging
import math
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from ilab_jupyter.errors import PublicError, Unprocessable
from ilab_jupyter.progress import Stopped
from ilab_jupyter.synthesis.compatibility import one_line_end, repair_markup

CHUNK_TOKENS = 500
TOKENS_PER_WORD = 1.3

_log = logging.getLogger(__name__)
# Chinese and Japanese characters, and scripts whose words have no blanks between them.
_UNSPACED = re.compile("[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


class DocumentError(Exception):
    """A document cannot be taught from: its name, what is wrong with it, and what to do."""

    def __init__(self, name: str, problem: str, hint: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name, self.problem, self.hint = name, problem, hint


def chunks(documents: Sequence[Path], root: Path, models: str | Path | None = None) -> list[str]:
    """The chunks of all documents, which may be of several types, in their order.

    DocumentError for a document that docling cannot read, and where no document has any text; one without
    text beside others is left out. `models` is the folder of docling's layout models.
    """
    found: list[str] = []
    silent: list[str] = []
    for path in documents:
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        try:
            made = _chunks(path, name, models)
        except (DocumentError, PublicError, Stopped, OSError, MemoryError):
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:200] or type(error).__name__
            raise DocumentError(
                name, f"docling cannot read it: {said}", "Save it again, as markdown."
            ) from error
        if not made:
            silent.append(name)
            _log.warning("%s has no text below its headings and is left out.", name)
        found += [repair_markup(one_line_end(chunk)) for chunk in made]
    if not found:
        several = f" (nor have {', '.join(silent[1:4])})" if len(silent) > 1 else ""
        raise DocumentError(
            silent[0] if silent else "document",
            f"it has no text below its headings{several}",
            "Write sentences below the headings, or name another document in `patterns:`.",
        )
    return found


def found(
    source: Mapping[str, Any], skip_checkout: bool = False, document_output_dir: Any = None
) -> list[Path]:
    """The documents of a leaf that `leaves.copy` has made: all in the folder that it names, in their order.

    In place of instructlab-sdg's `_get_documents`, with its arguments.
    """
    folder = Path(str(source["repo"]))
    files = (path for path in folder.rglob("*") if ".git" not in path.relative_to(folder).parts)
    return sorted(path for path in files if path.suffix.lower() in (".md", ".pdf") and path.is_file())


def read_models() -> str | None:
    """The folder that instructlab/sdg/models/config.yaml names; Unprocessable for a file that is wrong."""
    generate_data: Any = importlib.import_module("instructlab.sdg.generate_data")
    try:
        found = generate_data._locate_docling_models()
    except Exception as error:
        raise Unprocessable(
            f"instructlab/sdg/models/config.yaml cannot be read: {' '.join(str(error).split())[:200]}.",
            "Correct it, or remove it: PDF files are then read without layout models.",
            cause="bad_config",
        ) from error
    return None if found is None else str(found)


def _chunks(path: Path, name: str, models: str | Path | None) -> list[str]:
    from docling_core.transforms.chunker.hybrid_chunker import HybridChunker

    from ilab_jupyter.retrieval.chunking import markdown_tables

    if path.suffix.lower() == ".pdf":
        document = _pdf(path, name, models)
    else:
        from docling.datamodel.base_models import DocumentStream

        # by a name of ours: docling knows no `.MD`
        stream = DocumentStream(name="document.md", stream=BytesIO(path.read_bytes().removeprefix(BOM_UTF8)))
        document = _markdown().convert(stream).document
    chunker = HybridChunker(tokenizer=_word_counter(), serializer_provider=markdown_tables())
    serialized = (chunker.contextualize(chunk=chunk) for chunk in chunker.chunk(dl_doc=document))
    return [text.replace("&#124;", r"\|") for text in serialized if text.strip()]


def _pdf(path: Path, name: str, models: str | Path | None) -> Any:
    from ilab_jupyter.retrieval import pdf
    from ilab_jupyter.retrieval.unreadable import Unreadable

    try:
        document, losses = pdf.read(path, path.name, None if models is None else str(models), text_only=False)
    except Unreadable as error:
        raise DocumentError(name, _lower(str(error).rstrip(".")), error.hint or "Save it again.") from error
    for loss in losses:
        _log.warning("%s: %s", name, loss)
    return document


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


@lru_cache(maxsize=1)
def _markdown() -> Any:
    from docling.datamodel.base_models import InputFormat
    from docling.document_converter import DocumentConverter

    return DocumentConverter(allowed_formats=[InputFormat.MD])


def count_tokens(text: str) -> int:
    """instructlab-sdg's own rule of 1.3 tokens a word; one for each character of a script without blanks."""
    unspaced = len(_UNSPACED.findall(text))
    return math.ceil(TOKENS_PER_WORD * len(text.split())) + unspaced


@lru_cache(maxsize=1)
def _word_counter() -> Any:
    from docling_core.transforms.chunker.tokenizer.base import BaseTokenizer

    class WordCounter(BaseTokenizer):
        """Counts words, so that chunks do not depend on a model that is here or not."""

        def count_tokens(self, text: str) -> int:
            return count_tokens(text)

        def get_max_tokens(self) -> int:
            return CHUNK_TOKENS

        def get_tokenizer(self) -> Any:
            return self.count_tokens

    return WordCounter()


class Chunker:
    """In place of instructlab-sdg's DocumentChunker, with its constructor."""

    def __init__(self, document_paths: Iterable[Path], docling_model_path: Any = None, **_: Any) -> None:
        self._paths = [Path(path) for path in document_paths]
        self._models = docling_model_path

    def chunk_documents(self) -> list[str]:
        """All chunks."""
        root = self._paths[0].parent if len(self._paths) == 1 else Path("/")
        return chunks(self._paths, root, self._models)
