"""Results as a terminal and a notebook show them: words and tables, whatever stands in them."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
from IPython.lib.pretty import pretty

import ilab_jupyter
from ilab_jupyter import display
from ilab_jupyter.retrieval.results import Answer, Hit, Hits
from ilab_jupyter.taxonomy.finding import Finding, Findings

EVIL = "<script>alert(1)</script>\x1b[2J"
HIT = Hit(
    document=EVIL,
    folder="/d",
    number=0,
    headings=("Bees", EVIL),
    page=3,
    text=EVIL,
    score=0.5,
    similarity=None,
)
ANSWER = Answer(question="?", text=f"Six. {EVIL}", found=True, cited=(HIT,), passages=(HIT,), model=None)
FINDING = Finding(file="a/qna.yaml", line=3, column=1, severity="error", message=EVIL)
RESULTS = [Hits(query="?", mode="text", hits=(HIT,)), ANSWER, Findings((FINDING,))]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_result_text_is_free_of_control_sequences_and_markup(result: display.Shown) -> None:
    assert pretty(result) == display.safe(str(result)) and "\x1b" not in pretty(result)
    page = result._repr_html_()  # type: ignore[attr-defined]
    assert "<script>" not in page and "&lt;script&gt;" in page and "\x1b" not in page


def test_an_answer_names_its_sources_once() -> None:
    assert ANSWER._repr_html_().count("[1]") == 1
    assert "Six." in ANSWER.model_copy(update={"cited": ()})._repr_html_()


def test_every_notebook_table_has_terminal_text() -> None:
    package = Path(ilab_jupyter.__file__).parent
    for path in package.rglob("*.py"):
        if "def _repr_html_" not in path.read_text(encoding="utf-8"):
            continue
        name = ".".join(path.relative_to(package.parent).with_suffix("").parts)
        for _, found in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            if found.__module__ == name and "_repr_html_" in vars(found):
                assert issubclass(found, display.Shown) or "__repr__" in vars(found), found


def test_of_a_long_table_the_rest_is_counted() -> None:
    page = display.table(("n",), [(f"row {number}",) for number in range(1234)], most=20)
    assert page.count("<tr>") == 21 and page.endswith("<p>… and 1,214 more</p>")
    assert "more" not in display.table(("n",), [(1,), (2,)], most=2)
