"""Broken qna.yaml files: each is told with the exact line and column, in words, and with what to do about it."""

# ruff: noqa: E501  (a broken leaf a line)

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ilab_jupyter.core import Taxonomy
from ilab_jupyter.core.taxonomy import Findings
from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.taxonomy import yamltext

SKILL = """\
version: 3
created_by: someone
task_description: name the opposite
seed_examples:
  - question: What is the opposite of hot?
    answer: "Cold."
  - question: What is the opposite of high?
    answer: "Low."
  - question: What is the opposite of late?
    answer: "Early."
  - question: What is the opposite of loud?
    answer: "Quiet."
  - question: What is the opposite of wide?
    answer: "Narrow."
"""
PAIRS = """\
    questions_and_answers:
      - question: What does passage {0} say first?
        answer: One {0}.
      - question: What does passage {0} say then?
        answer: Two {0}.
      - question: What does passage {0} say last?
        answer: Three {0}.
"""
KNOWLEDGE = """\
version: 3
created_by: someone
domain: numbers
document_outline: Numbers, in passages
document:
  repo: https://example.invalid/numbers
  commit: 0123abc
  patterns:
    - numbers.md
seed_examples:
""" + "".join(f"  - context: Passage {number}.\n" + PAIRS.format(number) for number in range(1, 6))

# In what is put in, this stands where the finding must point; it is taken out before the file is written.
HERE = "▶"

Change = Callable[[str], str]


def swap(old: str, new: str) -> Change:
    def change(text: str) -> str:
        assert text.count(old) >= 1, old
        return text.replace(old, new, 1)

    return change


def end(more: str) -> Change:
    return lambda text: text + more


def whole(new: str) -> Change:
    return lambda text: new


# what is wrong: (the leaf, how it comes to be wrong, a part of the message, a part of how to mend it)
BROKEN: dict[str, tuple[str, Change, str, str]] = {
    "a colon in a plain text": (SKILL, swap("name the opposite", "name▶: the opposite"), "mapping values", "quotes"),
    "a tab": (SKILL, swap("  - question: What is the opposite of high", "▶\t- question: What is the opposite of high"), "not valid YAML", "spaces"),
    "a tab inside a text": (SKILL, swap("name the opposite", "name▶\tthe opposite"), "not valid YAML", "spaces"),
    "a quote that closes too late": (SKILL, swap('"Low."', '▶"Low.'), "closed only some lines later", "Close the quote"),
    "a quote that nothing closes": (SKILL, end('note: ▶"left open\nand on\n'), "not valid YAML", "Close the quote"),
    "a bracket that nothing closes": (SKILL, end("note: ▶[left, open\n"), "not valid YAML", "Close what opens"),
    "a list that is not indented alike": (SKILL, swap("  - question: What is the opposite of high", " ▶- question: What is the opposite of high"), "not valid YAML", "this line"),
    "an unknown alias": (SKILL, swap("name the opposite", "▶*this"), "undefined alias", "this line"),
    "a character that YAML reserves": (SKILL, swap("name the opposite", "▶@home"), "not valid YAML", "quotes"),
    "a control character": (SKILL, swap("the opposite of hot", "the ▶\x07 of hot"), "#x0007", "Remove this character"),
    "a key twice": (SKILL, swap("task_description", "▶created_by: another\ntask_description"), "'created_by' is here a second time", "Keep one"),
    "a key twice in a seed": (SKILL, swap('    answer: "Low."\n', '    answer: "Low."\n    ▶answer: "Deep."\n'), "'answer' is here a second time", "Keep one"),
    "a key that is a number": (SKILL, swap("created_by", "▶5: five\ncreated_by"), "a key that is not a text", "quotes"),
    "a misspelt key": (SKILL, swap("task_description", "▶taskdescription"), "taskdescription is not known", "Did you mean `task_description`?"),
    "a misspelt key in a seed": (SKILL, swap('answer: "Early."', '▶anwser: "Early."'), "anwser is not known in seed_examples #3", "`answer`"),
    "an unknown key": (SKILL, swap("created_by", "▶colour: red\ncreated_by"), "colour is not known", "Known here: created_by"),
    "a missing key": (SKILL, lambda text: HERE + swap("task_description: name the opposite\n", "")(text), "task_description is missing", "Add `task_description:`"),
    "a missing answer": (SKILL, swap('  - question: What is the opposite of loud?\n    answer: "Quiet."\n', "  - ▶question: What is the opposite of loud?\n"), "answer is missing in seed_examples #4", "Add `answer:`"),
    "a number for a question": (SKILL, swap("question: What is the opposite of late?", "▶question: 5"), "seed_examples #3, question is a number, not a text", "quotes"),
    "a date for an answer": (SKILL, swap('answer: "Early."', "▶answer: 2026-01-31"), "is a date, not a text", "quotes"),
    "yes for an answer": (SKILL, swap('answer: "Early."', "▶answer: yes"), "is yes or no, not a text", "quotes"),
    "a list for an answer": (SKILL, swap('answer: "Early."', "▶answer: [early]"), "is a list, not a text", "Write a text"),
    "a text for the seeds": (SKILL, lambda text: text[: text.index("seed_examples")] + "▶seed_examples: none\n", "seed_examples is a text, not a list", "Write a list"),
    "no value": (SKILL, swap("created_by: someone", "▶created_by:"), "created_by is empty, not a text", "Write a text"),
    "an empty question": (SKILL, swap("question: What is the opposite of loud?", '▶question: ""'), "seed_examples #4, question is empty", "Write something"),
    "too few seeds": (SKILL, lambda text: swap("seed_examples", "▶seed_examples")(text[: text.index("  - question: What is the opposite of loud")]), "3 of at least 5 items", "Add 2 more"),
    "the same seed twice": (SKILL, end('  - ▶question: What is the opposite of high?\n    answer: "Low."\n'), "seed_examples #6 is the same as #2", "Remove or change"),
    "a version that does not exist": (SKILL, swap("version: 3", "version: ▶99"), "version is 99, not one of [1, 2, 3]", "Write `version: 3`"),
    "a version in words": (SKILL, swap("version: 3", "version: ▶three"), "version is 'three'", "Write `version: 3`"),
    "a version that is no number": (SKILL, swap("version: 3", "version: ▶.nan"), "version is nan", "Write `version: 3`"),
    "a version of 400 digits": (SKILL, swap("version: 3", f"version: ▶1{'0' * 400}"), "version is a huge number", "Write `version: 3`"),
    "a number of 10,000 digits": (SKILL, swap("name the opposite", f"▶1{'0' * 10_000}"), "digits", "this line"),
    "a month 13": (SKILL, swap("name the opposite", "▶2026-13-01"), "month", "this line"),
    "a python tag": (SKILL, swap("someone", "▶!!python/object/apply:os.system [touch canary]"), "could not determine a constructor", "Remove the tag"),
    "a tag of its own": (SKILL, swap("someone", "▶!mine x"), "could not determine a constructor", "Remove the tag"),
    "a list at the top": (SKILL, whole("▶- version: 3\n"), "not a set of keys", "Start with keys"),
    "a sentence at the top": (SKILL, whole("# a leaf\n▶to be written\n"), "not a set of keys", "Start with keys"),
    "an empty file": (SKILL, whole("▶"), "the file is empty", "version: 3"),
    "only a comment": (SKILL, whole("▶# nothing yet\n"), "the file is empty", "version: 3"),
    "two documents in one file": (SKILL, end("▶---\nversion: 3\n"), "not valid YAML", "this line"),
    "a list that contains itself": (SKILL, swap("seed_examples:\n", "seed_examples: &all\n  - ▶*all\n"), "'all' contains itself", "Write the value out"),
    "a key merged with itself": (SKILL, swap("created_by", "note: &note\n  <<: ▶*note\ncreated_by"), "'note' contains itself", "Write the value out"),
    "nesting without end": (SKILL, end(f"deep: {'[' * 31}▶{'[' * 100_000}\n"), "nesting deeper than 32", "Nest less"),
    "nesting by aliases": (SKILL, end(f"a: &a {'[' * 20}{']' * 20}\nb: {'[' * 15}▶*a{']' * 15}\n"), "nesting deeper than 32", "Nest less"),
    "a bomb of aliases": (SKILL, end(f"a: &a [x, x]\nb: [{'*a, ' * 20}▶*a]\n"), "more than 20 aliases", "Write the values out"),
    "a bomb of few aliases": (SKILL, end(f"a: &a [{'x, ' * 30_000}x]\nb: &b [*a, *a, ▶*a]\nc: [*b, *b]\n"), "more than 100,000 values", "Split"),
    "a bomb of merged keys": (SKILL, end("a: &a {" + "".join(f"k{n}: x, " for n in range(20_000)) + "}\nb: {<<: [*a, ▶*a, *a, *a]}\n"), "more than 100,000 values", "Split"),
    "an old version": (KNOWLEDGE, swap("version: 3", "▶version: 2"), "version 2, and the least that is read is 3", "version: 3"),
    "knowledge without a version": (KNOWLEDGE, lambda text: HERE + swap("version: 3\n", "")(text), "has no `version`", "version: 3"),
    "knowledge without a document": (KNOWLEDGE, lambda text: HERE + text[: text.index("document:\n")] + text[text.index("seed_examples:") :], "document is missing", "Add `document:`"),
    "a document without a commit": (KNOWLEDGE, lambda text: swap("repo:", "▶repo:")(swap("  commit: 0123abc\n", "")(text)), "commit is missing in document", "Add `commit:`"),
    "a passage without its text": (KNOWLEDGE, swap("context: Passage 3.\n    questions_and_answers", "▶questions_and_answers"), "context is missing in seed_examples #3", "Add `context:`"),
    "a misspelt key in a pair": (KNOWLEDGE, swap("- question: What does passage 2 say then", "- ▶questoin: What does passage 2 say then"), "questoin is not known in seed_examples #2, questions_and_answers #2", "Did you mean `question`?"),
    "too few questions": (KNOWLEDGE, lambda text: swap("questions_and_answers", "▶questions_and_answers")(swap("      - question: What does passage 1 say last?\n        answer: Three 1.\n", "")(text)), "2 of at least 3 items", "Add 1 more"),
    "a repository that is an option": (KNOWLEDGE, swap("https://example.invalid/numbers", "▶--upload-pack=touch"), "starts with a hyphen", "URL"),
    "a repository that is a command": (KNOWLEDGE, swap("https://example.invalid/numbers", "▶ext::sh -c id"), "it is a command", "URL"),
    "the same in capitals": (KNOWLEDGE, swap("https://example.invalid/numbers", "▶EXT::sh -c id"), "it is a command", "URL"),
    "a host that is an option": (KNOWLEDGE, swap("https://example.invalid/numbers", "▶ssh://-oProxyCommand=id/x"), "it has no host", "URL"),
    "an address without a host": (KNOWLEDGE, swap("https://example.invalid/numbers", "▶https:///evil"), "it has no host", "URL"),
    "an address of another kind": (KNOWLEDGE, swap("https://example.invalid/numbers", "▶http://example.invalid/numbers"), "only https, ssh, git, file", "URL"),
    "the machine's metadata": (KNOWLEDGE, swap("https://example.invalid/numbers", "▶https://169.254.169.254/x"), "metadata", "URL"),
    "the same as one number": (KNOWLEDGE, swap("https://example.invalid/numbers", "▶https://2852039166/x"), "metadata", "URL"),
    "the same as IPv6": (KNOWLEDGE, swap("https://example.invalid/numbers", "▶https://[::ffff:169.254.169.254]/x"), "metadata", "URL"),
    "a commit that is an option": (KNOWLEDGE, swap("commit: 0123abc", "commit: ▶--force"), "no git revision", "id"),
    "a commit that is a search": (KNOWLEDGE, swap("commit: 0123abc", "commit: ▶HEAD^{/x}"), "no git revision", "id"),
    "a pattern that leads out": (KNOWLEDGE, swap("- numbers.md", "- ▶../../secret.md"), "leads out", "inside"),
    "a pattern from the root": (KNOWLEDGE, swap("- numbers.md", "- ▶/etc/x.md"), "leads out", "inside"),
    "a document of another kind": (KNOWLEDGE, swap("- numbers.md", "- ▶numbers.docx"), "neither .md nor .pdf", "markdown"),
    "no pattern": (KNOWLEDGE, swap("patterns:\n    - numbers.md", "▶patterns: []"), "0 of at least 1 items", "Add 1 more"),
}  # fmt: skip


def written(folder: Path, source: str, data: bytes, file: str = "qna.yaml") -> str:
    """Writes the leaf, and returns its name."""
    name = f"{'knowledge' if source is KNOWLEDGE else 'compositional_skills'}/a/b/{file}"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(data)
    return name


def judged(folder: Path, source: str, data: bytes, file: str = "qna.yaml") -> Findings:
    written(folder, source, data, file)
    return Taxonomy.validate(folder)


@pytest.mark.parametrize("source", [SKILL, KNOWLEDGE], ids=["skill", "knowledge"])
def test_the_leaves_to_break_are_right(tmp_path: Path, source: str) -> None:
    assert judged(tmp_path, source, source.encode()) == []


@pytest.mark.parametrize("case", BROKEN)
def test_broken_leaf_is_reported_with_position_and_hint(tmp_path: Path, case: str) -> None:
    source, change, message, hint = BROKEN[case]
    marked = change(source)
    assert marked.count(HERE) == 1
    before, text = marked[: marked.index(HERE)], marked.replace(HERE, "")
    started = time.monotonic()
    findings = judged(tmp_path, source, text.encode())
    assert time.monotonic() - started < 5
    first = findings.errors[0]
    position = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    assert (first.line, first.column) == position, str(findings)
    assert message in first.message
    assert hint in first.hint
    for finding in findings:
        lines = text.split("\n")
        assert 1 <= finding.line <= len(lines)
        assert 1 <= finding.column <= len(lines[finding.line - 1]) + 1
        assert finding.hint
        assert len(finding.message) < 250
        assert finding.message.isprintable()
    with pytest.raises(Unprocessable) as caught:
        Taxonomy.check(tmp_path)
    assert f"{first.file}:{first.line}: {first.message}" in str(caught.value)
    assert ("more)" in str(caught.value)) == (len(findings.errors) > 1)
    assert not Path("canary").exists()


BYTES: dict[str, tuple[bytes, tuple[int, int], str, str]] = {
    "not UTF-8": (SKILL.encode().replace(b"hot", b"h\xf6t"), (5, 40), "not UTF-8 text", "UTF-8"),
    "UTF-16": (SKILL.encode("utf-16"), (1, 1), "UTF-16 or UTF-32", "UTF-8"),
    "UTF-16 without a mark": (SKILL.encode("utf-16-le"), (1, 1), "UTF-16 or UTF-32", "UTF-8"),
    "a megabyte and more": (SKILL.encode() + b"#" * 1_000_001, (1, 1), "more than the 1,000,000", "Split"),
}


@pytest.mark.parametrize("case", BYTES)
def test_undecodable_bytes_are_reported_at_their_start(tmp_path: Path, case: str) -> None:
    data, position, message, hint = BYTES[case]
    [first] = judged(tmp_path, SKILL, data)
    assert (first.line, first.column) == position
    assert message in first.message
    assert hint in first.hint


def test_a_gigabyte_is_refused_without_being_read(tmp_path: Path) -> None:
    name = written(tmp_path, SKILL, b"version: 3\n")
    with (tmp_path / name).open("r+b") as stream:
        stream.truncate(1 << 30)
    started = time.monotonic()
    [first] = Taxonomy.validate(tmp_path)
    assert "1,073,741,824 bytes" in first.message
    assert time.monotonic() - started < 2


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    assert judged(tmp_path, SKILL, b"\xef\xbb\xbf" + SKILL.encode()) == []


def test_misnamed_leaf_has_hint_to_rename(tmp_path: Path) -> None:
    [first] = judged(tmp_path, SKILL, SKILL.encode(), "qna.yml")
    assert (first.severity, first.line, first.column) == ("error", 1, 1)
    assert first.message == "the file is named qna.yml, and only qna.yaml is read"
    assert first.hint == "Rename it to qna.yaml."


# what is not as it should be, and stops nothing
UNTIDY: dict[str, tuple[str, Change, str]] = {
    "spaces at the end of a line": (SKILL, swap("someone\n", "someone▶  \n"), "spaces at the end"),
    "no end of line": (SKILL, lambda text: text.removesuffix("\n") + HERE, "no line end"),
    "empty lines": (SKILL, end("▶\n\n"), "empty lines at the end"),
    "lines as on Windows": (SKILL, lambda text: text.replace("\n", "\r\n").replace("3\r", "3▶\r", 1), "as on Windows"),
    "no version": (SKILL, lambda text: HERE + swap("version: 3\n", "")(text), "version is missing"),
    "a context in one seed only": (SKILL, swap("  - question: What is the opposite of high?", "  - ▶context: Up and down.\n    question: What is the opposite of high?"), "#2 has a context, unlike the first"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNTIDY)
def test_style_findings_are_reported_and_block_nothing(tmp_path: Path, case: str) -> None:
    source, change, message = UNTIDY[case]
    marked = change(source)
    before = marked[: marked.index(HERE)]
    [finding] = judged(tmp_path, source, marked.replace(HERE, "").encode())
    assert finding.severity == "style"
    assert (finding.line, finding.column) == (before.count("\n") + 1, len(before) - before.rfind("\n"))
    assert message in finding.message
    assert finding.hint
    assert len(Taxonomy.check(tmp_path)) == 1


def test_a_finding_never_hides_behind_a_thousand_others(tmp_path: Path) -> None:
    untidy = SKILL.replace("someone\n", "someone\n" + "# \n" * 1000).replace('"Narrow."', "7")
    findings = judged(tmp_path, SKILL, untidy.encode())
    assert len(findings) == 100
    assert [finding.message for finding in findings.errors] == [
        "seed_examples #5, answer is a number, not a text"
    ]


def test_a_line_is_counted_as_editors_count_it(tmp_path: Path) -> None:
    rare = SKILL.replace('"Cold."', '"Cold,\u2028 so \x85 cold."').replace('"Narrow."', "7")
    [finding] = judged(tmp_path, SKILL, rare.encode()).errors
    assert finding.line == 14


def test_a_pipe_a_device_and_links_are_never_waited_for(tmp_path: Path) -> None:
    name = written(tmp_path / "taxonomy", SKILL, b"")
    leaf = tmp_path / "taxonomy" / name
    outside = tmp_path / "secret"
    outside.write_text("password: [\n")
    for make, message in (
        (lambda: os.mkfifo(leaf), "no ordinary file"),
        (lambda: leaf.symlink_to("/dev/zero"), "leads out of the taxonomy"),
        (lambda: leaf.symlink_to(outside), "leads out of the taxonomy"),
        (lambda: leaf.symlink_to("nowhere"), "cannot be read"),
        (lambda: leaf.symlink_to(leaf), "cannot be read"),
    ):
        leaf.unlink()
        make()
        [finding] = Taxonomy.validate(tmp_path / "taxonomy")
        assert message in finding.message
        assert "password" not in finding.message


def test_value_has_its_position_after_any_prefix() -> None:
    text = yamltext.read("a: 'ä🐈'\nb: {c: [x, 'é', \"ünd\"]}\n".encode())
    assert text.position(["b", "c", 2]) == (2, 17)
    assert text.position(["b", "c"], key=True) == (2, 5)
    start, stop = text.span(["a"])
    assert text.source[start:stop] == "'ä🐈'"


def test_the_table_of_findings_shows_markup_as_text(tmp_path: Path) -> None:
    spoilt = SKILL.replace("task_description", '"<script>alert(1)</script>": x\ntask_description')
    findings = judged(tmp_path, SKILL, spoilt.encode())
    assert "<script>" not in findings._repr_html_()
    assert "&lt;script&gt;" in findings._repr_html_()
    assert "compositional_skills/a/b/qna.yaml:3:1: error: " in str(findings)
    assert str(Findings()) == "Nothing is wrong."
