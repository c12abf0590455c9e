"""Read PDF files with docling's layout models if they are installed, as plain text otherwise.

Imported only in the reading process.
"""

from __future__ import annotations

import importlib.util
import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilab_jupyter.retrieval.text import page_paragraphs
from ilab_jupyter.retrieval.unreadable import Unreadable

if TYPE_CHECKING:
    from docling_core.types.doc.document import DoclingDocument

MAX_PAGES = 10_000
BARE = "Only the bare text was taken: headings, tables, pictures and the order of columns are lost."
_TABLES = "docling-project--docling-models"


def read(path: Path, name: str, models: str | None, *, text_only: bool) -> tuple[DoclingDocument, list[str]]:
    """Return (document, warnings about lost content).

    Raises Unreadable for an encrypted, damaged or too large file, and for one without text.
    """
    pages = _texts(path)
    silent = [number for number, (_, text) in enumerate(pages, 1) if not text.strip()]
    if len(silent) == len(pages):
        raise Unreadable(
            "no_text",
            "It has no text, only pictures of pages (a scan).",
            "Run it through OCR first, for example with ocrmypdf.",
        )
    losses = []
    if silent:
        some = ", ".join(map(str, silent[:10])) + (" ..." if len(silent) > 10 else "")
        losses.append(f"{len(silent)} of {len(pages)} pages have no text (pictures or empty): {some}.")
    if not text_only:
        folder = _models(models)
        if folder is None:
            losses.append(
                f"docling's layout models are not {f'in {models}' if models else 'on this machine'}."
            )
        else:
            try:
                return _laid_out(path, name, folder, losses), losses
            except (OSError, ImportError, ValueError, RuntimeError) as error:
                losses.append(f"docling's layout models cannot be used ({str(error)[:200]}).")
    return _bare(name, pages), [*losses, BARE]


def _texts(path: Path) -> list[tuple[tuple[float, float], str]]:
    """Return ((width, height) in points, text) of each page."""
    import pypdfium2  # type: ignore[import-untyped]

    try:
        pdf = pypdfium2.PdfDocument(path)
        if len(pdf) > MAX_PAGES:
            raise Unreadable("too_large", f"It has {len(pdf):,} pages; {MAX_PAGES:,} are the limit.")
        return [(page.get_size(), page.get_textpage().get_text_range()) for page in pdf]
    except pypdfium2.PdfiumError as error:
        if "assword" in str(error):
            raise Unreadable(
                "encrypted", "It is locked with a password.", "Save it without password."
            ) from None
        raise Unreadable(
            "broken", "It is damaged: no PDF can be opened from it.", "Export it again."
        ) from None


def _bare(name: str, pages: list[tuple[tuple[float, float], str]]) -> DoclingDocument:
    from docling_core.types.doc.base import BoundingBox, Size
    from docling_core.types.doc.common.reference import ProvenanceItem
    from docling_core.types.doc.document import DoclingDocument
    from docling_core.types.doc.labels import DocItemLabel

    document = DoclingDocument(name=name)
    for number, ((width, height), text) in enumerate(pages, 1):
        document.add_page(number, Size(width=width, height=height))
        for paragraph in page_paragraphs(text):
            where = ProvenanceItem(
                page_no=number,
                bbox=BoundingBox(l=0, t=0, r=width, b=height),
                charspan=(0, len(paragraph)),
            )
            document.add_text(DocItemLabel.TEXT, paragraph, prov=where)
    return document


def _models(given: str | None) -> Path | str | None:
    """Return the folder with docling's layout model, '' for the hub's cache, or None if there is none."""
    from docling.datamodel.pipeline_options import LayoutObjectDetectionOptions
    from docling.datamodel.settings import settings
    from huggingface_hub import try_to_load_from_cache

    layout = LayoutObjectDetectionOptions().model_spec.repo_id
    configured = settings.artifacts_path
    for folder in [Path(given)] if given else [configured, settings.cache_dir / "models"]:
        if folder is not None and (folder / layout.replace("/", "--")).is_dir():
            return folder
    if given is None and isinstance(try_to_load_from_cache(layout, "config.json"), str | os.PathLike):
        return ""
    return None


def _laid_out(path: Path, name: str, folder: Path | str, losses: list[str]) -> DoclingDocument:
    """Convert the document with docling's layout models; add a warning about tables to `losses`."""
    from docling.datamodel.base_models import DocumentStream, InputFormat
    from docling.datamodel.pipeline_options import PdfPipelineOptions
    from docling.document_converter import DocumentConverter, PdfFormatOption

    chosen: dict[str, Any] = {"artifacts_path": folder} if folder else {}
    tables = bool(folder) and (Path(folder) / _TABLES).is_dir()
    if not _has_torchvision():
        _without_table_models()
        if tables:
            losses.append("Tables are text without rows and columns: docling needs torchvision for them.")
        tables = False
    chosen |= {"do_ocr": False, "do_table_structure": tables}
    options = PdfPipelineOptions.model_validate(chosen)
    converter = DocumentConverter(
        allowed_formats=[InputFormat.PDF],
        format_options={InputFormat.PDF: PdfFormatOption(pipeline_options=options)},
    )
    return converter.convert(DocumentStream(name=name, stream=BytesIO(path.read_bytes()))).document


def _has_torchvision() -> bool:
    """Return whether torchvision can be imported; one that does not match torch is hidden at startup."""
    try:
        return importlib.util.find_spec("torchvision") is not None
    except ValueError:
        return False


def _without_table_models() -> None:
    """Disable docling's other table models, which it imports even if tables are not recognised."""
    from docling.models.plugins import defaults
    from docling.models.stages.table_structure.table_structure_model import TableStructureModel

    defaults.table_structure_engines = lambda: {"table_structure_engines": [TableStructureModel]}
