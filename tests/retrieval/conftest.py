"""Documents and an embedding model, made on the spot."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest


def docx(paragraphs: dict[str, str], table: list[list[str]] | None = None) -> bytes:
    """A Word document of headings and what stands below them."""
    from docx import Document

    document = Document()
    for heading, text in paragraphs.items():
        document.add_heading(heading, level=1)
        document.add_paragraph(text)
    if table:
        rows = document.add_table(rows=len(table), cols=len(table[0]))
        for cells, row in zip(table, rows.rows, strict=True):
            for text, cell in zip(cells, row.cells, strict=True):
                cell.text = text
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def pptx(slides: dict[str, str]) -> bytes:
    """Slides of a title and a text."""
    from pptx import Presentation

    presentation = Presentation()
    for title, text in slides.items():
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = text
    buffer = io.BytesIO()
    presentation.save(buffer)
    return buffer.getvalue()


def pdf(pages: list[list[str]], locked: bool = False) -> bytes:
    """A PDF whose pages have these lines; `locked` with a password that nobody knows."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    kids = []
    for lines in pages:
        shown = "".join(f"({line}) Tj 0 -14 Td\n" for line in lines)
        content = f"BT /F1 11 Tf 72 720 Td\n{shown}ET"
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources {font} "
            f"/Contents {len(objects) + 2} 0 R >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    trailer = f"/Size {len(objects) + 1} /Root 1 0 R"
    if locked:
        some = "ab" * 32
        trailer += (
            f" /ID [<{some[:32]}> <{some[:32]}>]"
            f" /Encrypt << /Filter /Standard /V 1 /R 2 /O <{some}> /U <{some}> /P -4 >>"
        )
    out, positions = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        positions.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{position:010} 00000 n \n" for position in positions)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer << {trailer} >>\n"
    return (out + end + f"startxref\n{len(out)}\n%%EOF\n").encode("latin-1")


def with_entries(archive: bytes, entries: dict[str, bytes]) -> bytes:
    """The zip archive with more files in it."""
    buffer = io.BytesIO(archive)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as added:
        for name, content in entries.items():
            added.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def embedding(sentence_models: Path) -> Path:
    """The folder of an embedding model; tests must not write to it."""
    return sentence_models / "words"


class Quiet:
    """A reporter that says nothing and stops nothing."""

    stopping = False

    def phase(self, name: str, message: str = "") -> None: ...

    def progress(self, step: int, total: int | None, **metrics: object) -> None: ...

    def artifact(self, kind: str, name: str, path: Path) -> None: ...

    def warning(self, message: str, hint: str = "") -> None: ...

    def event(self, type: str, **fields: object) -> None: ...
