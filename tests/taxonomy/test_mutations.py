"""Real leaves of instructlab/taxonomy, damaged in 300 ways: our verdict is that of instructlab-schema.

Its yamllint rules are left out on both sides: trailing blanks and the like are matters of style here.
The only other differences are what YAML or the generator would change without a word; each is named below.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from instructlab.schema.taxonomy import TaxonomyMessageFormat, TaxonomyParser, TaxonomyReadingException

from ilab_jupyter.taxonomy import qna

DATA = Path(__file__).parents[1] / "data" / "leaves"
LEAVES = {
    "black_capped_chickadee": "knowledge/science/animals/birds/black_capped_chickadee/qna.yaml",
    "inclusion": "compositional_skills/grounded/linguistics/inclusion/qna.yaml",
    "synonyms": "compositional_skills/linguistics/synonyms/qna.yaml",
}
EACH = 100
# What is refused here and accepted by instructlab-schema, by our own message, with the reason.
STRICTER = {
    "is here a second time": "YAML keeps the last of two equal keys, and the first value would be lost",
    "is no git revision": "git would take it for an option, or find nothing",
    "is no address of a git repository": "git would not find the documents",
    "matches neither .md nor .pdf": "the generator reads no other documents",
    "leads out of the repository": "the generator would find no document",
    "the file is empty": "instructlab-schema only warns, and the generator skips the leaf",
    "a key that is not a text": "it is not a key of any leaf",
    "is missing, so": "the schema of version 1 checks little",
}
VALUES: tuple[Any, ...] = (None, 5, 1.5, True, "", "text", [], ["x"], {}, {"a": 1}, "2026-11-30", [1, 2])
SIGNS = (
    ":",
    ": ",
    "#",
    " #",
    "'",
    '"',
    "- ",
    "\t",
    "{",
    "]",
    "&a ",
    "*a",
    "!",
    "%",
    "|",
    "?",
    "\\",
    "@",
    "`",
)

Mutation = Callable[[random.Random, str], bytes]


def paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value below `value`."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*here, key)
        if isinstance(inner, dict | list):
            yield from paths(inner, (*here, key))


def edited(change: Callable[[random.Random, Any, Any], None]) -> Mutation:
    """A mutation of the contents: `change` gets the parent of a value and the value's key."""

    def mutate(source: random.Random, text: str) -> bytes:
        contents = copy.deepcopy(yaml.safe_load(text))
        path = source.choice(list(paths(contents)))
        parent = contents
        for step in path[:-1]:
            parent = parent[step]
        change(source, parent, path[-1])
        return yaml.safe_dump(contents, sort_keys=False, allow_unicode=True).encode()

    return mutate


def dropped(source: random.Random, parent: Any, key: Any) -> None:
    del parent[key]


def replaced(source: random.Random, parent: Any, key: Any) -> None:
    parent[key] = source.choice(VALUES)


def renamed(source: random.Random, parent: Any, key: Any) -> None:
    if isinstance(parent, dict):
        parent[source.choice([f"{key}s", str(key).upper(), f"{key}_", str(key)[1:] or "x"])] = parent.pop(key)
    else:
        parent.insert(key, copy.deepcopy(parent[key]))


def added(source: random.Random, parent: Any, key: Any) -> None:
    if isinstance(parent, dict):
        parent[source.choice(["extra", "context", "answer", "version", 7])] = source.choice(VALUES)
    else:
        parent.append(source.choice(VALUES))


def indented(source: random.Random, text: str) -> bytes:
    lines = text.split("\n")
    position = source.randrange(len(lines))
    line = lines[position]
    lines[position] = source.choice([f" {line}", f"  {line}", line[1:], line[2:], f"\t{line}", line.lstrip()])
    return "\n".join(lines).encode()


def without_a_line(source: random.Random, text: str) -> bytes:
    lines = text.split("\n")
    del lines[source.randrange(len(lines))]
    return "\n".join(lines).encode()


def with_a_line_twice(source: random.Random, text: str) -> bytes:
    lines = text.split("\n")
    position = source.randrange(len(lines))
    return "\n".join([*lines[: position + 1], *lines[position:]]).encode()


def with_a_sign(source: random.Random, text: str) -> bytes:
    position = source.randrange(len(text))
    return (text[:position] + source.choice(SIGNS) + text[position + source.choice([0, 0, 1]) :]).encode()


def without_a_sign(source: random.Random, text: str) -> bytes:
    positions = [position for position, char in enumerate(text) if char in "'\":-|>\n "]
    position = source.choice(positions)
    return (text[:position] + text[position + 1 :]).encode()


def encoded(source: random.Random, text: str) -> bytes:
    text = text.replace("e", "\u00e9", 3)
    kind = source.choice(
        ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-8-sig", "utf-8", "cut", "nul", "crlf"]
    )
    if kind == "cut":
        return text.encode()[: source.randrange(len(text))]
    if kind == "nul":
        position = source.randrange(len(text))
        return (
            text[:position] + source.choice(["\0", "\x07", "\x85", "\u2028", "\ufffe"]) + text[position:]
        ).encode()
    if kind == "crlf":
        return text.replace("\n", "\r\n").encode()
    return text.encode(kind, errors="replace")


MUTATIONS: tuple[Mutation, ...] = (
    *(edited(change) for change in (dropped, replaced, renamed, added)),
    *(indented, without_a_line, with_a_line_twice, with_a_sign, without_a_sign, encoded),
)


@pytest.fixture(scope="module")
def parser() -> TaxonomyParser:
    made = TaxonomyParser(schema_version=0, message_format=TaxonomyMessageFormat.LOGGING)
    made._yamllint = lambda text, taxonomy: None
    made.yq_available = False  # it only adds line numbers
    return made


def accepted(parser: TaxonomyParser, file: Path) -> bool:
    """Whether instructlab-schema takes the leaf; a warning is an empty file, which the generator skips."""
    try:
        taxonomy = parser.parse(file)
    except TaxonomyReadingException:
        return False
    return not taxonomy.errors


@pytest.mark.parametrize("leaf", LEAVES)
def test_verdicts_on_damaged_leaves_equal_those_of_the_schema(
    leaf: str, parser: TaxonomyParser, tmp_path: Path
) -> None:
    text = (DATA / f"{leaf}.yaml").read_text(encoding="utf-8")
    file = tmp_path / LEAVES[leaf]
    file.parent.mkdir(parents=True)
    source = random.Random(leaf)
    verdicts = {True: 0, False: 0}
    for number in range(EACH):
        data = MUTATIONS[number % len(MUTATIONS)](source, text)
        file.write_bytes(data)
        errors = [one for one in qna.judge(tmp_path, LEAVES[leaf]) if one.severity == "error"]
        theirs = accepted(parser, file)
        verdicts[theirs] += 1
        if theirs == (not errors):
            continue
        messages = [one.message for one in errors]
        assert theirs, f"mutation {number}: the schema refuses it, and it is accepted here:\n{data!r}"
        for message in messages:
            assert any(reason in message for reason in STRICTER), f"mutation {number}: {message}\n{data!r}"
    assert min(verdicts.values()) > EACH // 10, "both verdicts are tried"


@pytest.mark.parametrize("leaf", LEAVES)
def test_undamaged_leaf_is_accepted_by_both(leaf: str, parser: TaxonomyParser, tmp_path: Path) -> None:
    file = tmp_path / LEAVES[leaf]
    file.parent.mkdir(parents=True)
    file.write_bytes((DATA / f"{leaf}.yaml").read_bytes())
    assert accepted(parser, file)
    assert not [one for one in qna.judge(tmp_path, LEAVES[leaf]) if one.severity == "error"]
