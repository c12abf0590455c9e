"""Words made of signs, such as `C++` and `$5`, are found, and before words that only share their letters."""

from __future__ import annotations

import pytest

from ilab_jupyter.retrieval import store
from ilab_jupyter.retrieval.results import Mode

TEXTS = (
    "The tool is written in C++ and Rust.",
    "A ticket costs $5 today.",
    "C is old.",
    "The C# book is new.",
    "Join them with a && b.",
    "It runs on .NET, too.",
    "To be or not to be.",
    "The mills open early, 5% of them at 6.",
)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> store.Collection:
    made = store.Collection.open_or_make(
        tmp_path_factory.mktemp("store"), "texts", store.Embedding("model", 2, "print")
    )
    rows = [
        {
            **dict.fromkeys(("folder", "document", "version"), "x"),
            **{"id": str(number), "number": number, "headings": [], "page": None},
            **{"content": text, "vector": [1.0, 0.0]},
        }
        for number, text in enumerate(TEXTS)
    ]
    made.replace("x", ["x"], rows)
    made.settle()
    return made


@pytest.mark.parametrize("mode", ["text", "hybrid"])
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("C++", 0),
        ("what is c++?", 0),
        ("$5", 1),
        ("How much is $5?", 1),
        ("C#", 3),
        ("&&", 4),
        (".NET", 5),
        ("to be or not to be", 6),
        ("5%", 7),
        ("opening", 7),
    ],
)
def test_best_hit_has_the_words_as_written(
    collection: store.Collection, query: str, found: int, mode: Mode
) -> None:
    hits = collection.search(query, [1.0, 0.0], 3, mode)
    assert hits[0].text == TEXTS[found]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("What is C++?", ["C++"]),
        ("It's the miller's well-known mill.", []),
        ('"quoted" (words), and so on...', []),
        ("100% of $5 & more", ["100%", "$5", "&"]),
    ],
)
def test_symbol_terms_are_distinguished_from_punctuation(query: str, terms: list[str]) -> None:
    assert store.literal_terms(query) == terms
