"""Documents of every kind, good and bad, in one folder: what is made of them and what is said of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ilab_jupyter.core import Data
from ilab_jupyter.retrieval.results import Failure, IngestResult
from tests.retrieval.conftest import Quiet, docx, pdf, pptx, with_entries

pytestmark = pytest.mark.slow

SECRET = "the secret of another folder"
LINES = [
    "Maren mends the nets at the harbour every morning, and the boats wait for",
    "her.",
    "Then they leave.",
]


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> IngestResult:
    folder = tmp_path_factory.mktemp("documents")
    (folder.parent / "outside.txt").write_text(SECRET)
    letter = docx({"Nets": "Maren mends them."}, [["name", "sum"], ["x", "1"]])
    good: dict[str, bytes] = {
        "guide.md": b"# Nets\n\nThe **knots** ([a link](x)) hold.\n\n![no](file:///etc/passwd)\n",
        "page.html": b"<html><head><script>alert('boo')</script></head><body>Before it.<h1>Nets</h1>"
        b"<p>Maren mends.</p><img src='file:///etc/passwd'><img src='http://127.0.0.1:9/x'></body></html>",
        "letter.docx": with_entries(letter, {"word/vbaProject.bin": b"macro"}),
        "slides.pptx": pptx({"Nets": "Maren mends them."}),
        "below/table.csv": b"name,sum\nx,=1+1\ny,2\n",
        "notes.txt": "Caf\xe9 at the harbour.\n\nIt opens at six.".encode("cp1252"),
        "wide.txt": "The baker's door is green.".encode("utf-16"),
        "report.pdf": pdf([LINES, [], ["The last page."]]),
    }
    bad: dict[str, bytes] = {
        "empty.md": b"",
        "blank.txt": b" \n\t\n",
        "binary.txt": b"a\0b\0",
        "big.txt": b"word " * 300_000,
        "bomb.docx": with_entries(letter, {"word/media/zeros.xml": bytes(60_000_000)}),
        "escape.pptx": with_entries(pptx({"a": "b"}), {"../../escaped.txt": b"out"}),
        "broken.docx": b"PK\x03\x04 and no more",
        "old.docx": bytes.fromhex("d0cf11e0a1b11ae1") + bytes(100),
        "letter.pptx": letter,
        "broken.pdf": b"%PDF-1.7 and no more",
        "locked.pdf": pdf([["secret"]], locked=True),
        "scan.pdf": pdf([[], []]),
        "quotes.csv": b'a,b\n"x" y,2\n',
    }
    for name, content in {**good, **bad}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "link.md").symlink_to(folder.parent / "outside.txt")
    (folder / "away").symlink_to(folder.parent)
    (folder / "picture.png").write_bytes(b"x")
    (folder / ".hidden.md").write_text("# hidden")
    os.mkfifo(folder / "pipe.md")
    output = tmp_path_factory.mktemp("output")
    return Data().ingest(folder, output, max_bytes=1_000_000, reporter=Quiet())


def failure(result: IngestResult, name: str) -> Failure:
    [found] = [one for one in result.failures if one.document == name]
    return found


def markdown(result: IngestResult, name: str) -> str:
    return (Path(result.path) / name).read_text(encoding="utf-8")


def test_each_document_becomes_one_markdown_file(ingested: IngestResult) -> None:
    assert {document.name: document.output for document in ingested.documents} == {
        "guide.md": "guide.md",
        "page.html": "page.html.md",
        "letter.docx": "letter.docx.md",
        "slides.pptx": "slides.pptx.md",
        "below/table.csv": "below/table.csv.md",
        "notes.txt": "notes.txt.md",
        "wide.txt": "wide.txt.md",
        "report.pdf": "report.pdf.md",
    }
    assert all((Path(ingested) / str(document.output)).is_file() for document in ingested.documents)


def test_markdown_is_kept_as_it_was_written(ingested: IngestResult) -> None:
    assert markdown(ingested, "guide.md").startswith("# Nets\n\nThe **knots** ([a link](x)) hold.\n")


def test_office_headings_and_tables_are_kept_without_macros(
    ingested: IngestResult,
) -> None:
    letter = markdown(ingested, "letter.docx.md")
    assert "# Nets" in letter and "Maren mends them." in letter and "| x | 1 |" in " ".join(letter.split())
    assert "macro" not in letter
    assert "Nets" in markdown(ingested, "slides.pptx.md")


def test_html_scripts_are_removed_and_links_not_fetched(ingested: IngestResult) -> None:
    page = markdown(ingested, "page.html.md")
    assert page.split() == ["Before", "it.", "#", "Nets", "Maren", "mends."]
    assert "root:" not in markdown(ingested, "guide.md")


def test_a_formula_of_a_table_stays_text(ingested: IngestResult) -> None:
    assert "| x | =1+1 |" in markdown(ingested, "below/table.csv.md")


def test_encoding_is_detected_and_uncertainty_reported(ingested: IngestResult) -> None:
    assert markdown(ingested, "notes.txt.md") == "Caf\xe9 at the harbour.\n\nIt opens at six.\n"
    assert markdown(ingested, "wide.txt.md") == "The baker's door is green.\n"
    told = {warning.document: warning.message for warning in ingested.warnings}
    assert "Windows-1252" in told["notes.txt"] and "wide.txt" not in told


def test_pdf_without_layout_models_gives_text_and_losses(ingested: IngestResult) -> None:
    text = markdown(ingested, "report.pdf.md")
    assert "boats wait for her." in text and "The last page." in text
    [report] = [document for document in ingested.documents if document.name == "report.pdf"]
    assert report.pages == 3
    told = [warning.message for warning in ingested.warnings if warning.document == "report.pdf"]
    assert any("1 of 3 pages have no text" in message for message in told)
    assert any("headings, tables, pictures and the order of columns are lost" in message for message in told)


def test_chunks_know_their_document_headings_and_page(ingested: IngestResult) -> None:
    with Path(ingested.chunks_file).open(encoding="utf-8") as lines:
        chunks = [json.loads(line) for line in lines]
    assert len(chunks) == ingested.chunks
    by_document = {chunk["document"]: chunk for chunk in chunks}
    assert by_document["letter.docx"]["headings"] == ["Nets"]
    assert by_document["report.pdf"]["page"] in (1, 3)
    # a sentence is one line, whatever is bold or a link in it
    assert by_document["guide.md"]["text"].startswith("The **knots** ([a link](x)) hold.")


@pytest.mark.parametrize(
    ("name", "reason", "said"),
    [
        ("empty.md", "empty", "It is empty."),
        ("blank.txt", "empty", "nothing but blanks"),
        ("binary.txt", "encoding", "not text"),
        ("big.txt", "too_large", "1 MB are the limit"),
        ("bomb.docx", "archive", "archive bomb"),
        ("escape.pptx", "archive", "leads out of it"),
        ("broken.docx", "broken", "damaged"),
        ("old.docx", "encrypted", "password"),
        ("letter.pptx", "format", "suffix"),
        ("broken.pdf", "broken", "damaged"),
        ("locked.pdf", "encrypted", "password"),
        ("scan.pdf", "no_text", "scan"),
        ("quotes.csv", "broken", "damaged"),
    ],
)
def test_unreadable_document_is_listed_with_reason(
    ingested: IngestResult, name: str, reason: str, said: str
) -> None:
    found = failure(ingested, name)
    assert found.reason == reason and said in found.message
    assert "Traceback" not in str(found)


def test_nothing_else_fails_and_nothing_leaves_its_folder(ingested: IngestResult) -> None:
    assert len(ingested.failures) == 13
    output = Path(ingested)
    assert not list(output.parent.rglob("escaped.txt"))
    assert all(SECRET not in path.read_text(errors="replace") for path in output.rglob("*") if path.is_file())


def test_links_pipes_and_unknown_files_are_counted(ingested: IngestResult) -> None:
    assert ingested.skipped == {"link": 2, "no file": 1, ".png": 1}


def test_the_manifest_says_what_came_from_what(ingested: IngestResult) -> None:
    manifest = json.loads(Path(ingested.manifest).read_bytes())
    listed = {entry["name"]: entry for entry in manifest["documents"]}
    assert set(listed) == {document.name for document in ingested.documents}
    assert len(listed["guide.md"]["sha256"]) == 64
    assert "not read: empty.md: It is empty." in str(ingested)
