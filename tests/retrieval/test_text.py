"""Bytes become text, and lines paragraphs."""

from __future__ import annotations

import pytest

from ilab_jupyter.retrieval.text import decode, page_paragraphs, paragraphs
from ilab_jupyter.retrieval.unreadable import Unreadable


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_is_read_without_doubt(encoding: str) -> None:
    assert decode("Caf\xe9 \u2013 \u6f22".encode(encoding)) == ("Caf\xe9 \u2013 \u6f22", "")


def test_a_page_says_how_it_is_encoded() -> None:
    page = '<html><meta charset="iso-8859-2"><p>\u0159eka</p>'
    assert decode(page.encode("iso-8859-2"), html=True) == (page, "")
    # an unknown name says nothing
    text, doubt = decode('<meta charset="moonshine"><p>caf\xe9'.encode("cp1252"), html=True)
    assert text.endswith("caf\xe9") and "Windows-1252" in doubt


@pytest.mark.parametrize("raw", [b"a\0b", b"\x81\x8d is in no encoding", "a".encode("utf-16") + b"\xd8"])
def test_what_is_no_text_is_refused(raw: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(raw)
    assert caught.value.reason == "encoding" and "UTF-8" in caught.value.hint


def test_blank_lines_part_paragraphs() -> None:
    assert paragraphs("One\nsentence.\r\n\r\n \nAnother.\n\n") == ["One sentence.", "Another."]


def test_a_printed_page_has_paragraphs_without_blank_lines() -> None:
    page = "The boats wait at the harbour until the nets are men-\r\nded and dry.\r\nThen they all leave."
    assert page_paragraphs(page) == [
        "The boats wait at the harbour until the nets are mended and dry.",
        "Then they all leave.",
    ]
    assert page_paragraphs("") == []
