"""Every cell of every table is in the chunks of a document, and can be found."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from ilab_jupyter.core import RAG, Data
from tests.retrieval.conftest import Quiet, docx, embedding

pytestmark = pytest.mark.slow

__all__ = ["embedding"]

ONE_COLUMN = [["Harbours"], ["Aldmouth"], ["Brackwater"], ["Cinderquay"]]
ONE_CELL = [["Lonelight"]]
WIDE = [
    ["Engine", "Fuel", "Built"],
    ["Bluebell", "peat bricks", "1911"],
    ["Foxglove", "", "1923"],
    ["Hemlock", "a|b pipes", "1931"],
    ["काला हंस", "炭", "ثلاثة"],
]
# More rows than a chunk of 60 tokens takes: the table is split between rows.
LONG = [["Stop", "Height"], *([f"halt-{number}", f"{number}m"] for number in range(60))]
TABLES = {"one": ONE_COLUMN, "cell": ONE_CELL, "wide": WIDE, "long": LONG}


def markdown(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]) + "\n"


def html(rows: list[list[str]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<html><body><h1>Table</h1><table>{body}</table></body></html>"


def comma_separated(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


FORMATS = {
    "md": lambda rows: f"# Table\n\n{markdown(rows)}".encode(),
    "docx": lambda rows: docx({"Table": "What follows is a table."}, rows),
    "html": lambda rows: html(rows).encode(),
    "csv": lambda rows: comma_separated(rows).encode(),
}


@pytest.fixture(scope="module")
def chunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chunks of each table in each format, of at most 60 tokens."""
    folder = tmp_path_factory.mktemp("tables")
    for name, rows in TABLES.items():
        for suffix, write in FORMATS.items():
            (folder / f"{name}.{suffix}").write_bytes(write(rows))
    return Path(Data().ingest(folder, tmp_path_factory.mktemp("chunks"), chunk_tokens=60, reporter=Quiet()))


def texts(chunks: Path, document: str) -> str:
    lines = (chunks / "chunks.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    return "\n".join(row["text"] for row in rows if row["document"] == document).replace("\\|", "|")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", TABLES)
def test_chunks_contain_every_cell(chunks: Path, name: str, suffix: str) -> None:
    text = texts(chunks, f"{name}.{suffix}")
    assert [cell for row in TABLES[name] for cell in row if cell not in text] == []


@pytest.mark.parametrize("cell", ["Harbours", "Lonelight", "Engine", "Foxglove", "halt-59", "炭"])
def test_search_finds_cell(chunks: Path, embedding: Path, tmp_path: Path, cell: str) -> None:
    rag = RAG(tmp_path / "store", embedding_model=embedding)
    rag.ingest(chunks, reporter=Quiet())
    assert cell in rag.search(cell, mode="text", top_k=1).hits[0].text
