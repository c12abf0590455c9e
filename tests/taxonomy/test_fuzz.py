"""Whatever the bytes of a leaf are, they are judged: findings inside the file, and never a crash."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ilab_jupyter.taxonomy import qna
from tests.taxonomy.test_broken import KNOWLEDGE, SKILL

PIECES = [
    "",
    "\t",
    ":",
    "- ",
    "&a ",
    "*a",
    "<<: ",
    "!!int ",
    "!!set ",
    "{",
    "]",
    '"',
    "'",
    "|\n",
    "#",
    "\r",
    "\n",
]
PIECES += [
    "\0",
    "é",
    "\ufeff",
    "\u2028",
    "? ",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "~",
    "=",
    ".inf",
    "0x",
    "1e999",
]
PIECES += ["2026-13-01", "1" * 5000, "null: x\n", "version: 2\n", "document:\n"]


def judged(name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(data)
        findings = qna.judge(root, name)
    lines = data.count(b"\n") + 1
    for finding in findings:
        assert 1 <= finding.line <= lines
        assert finding.column >= 1 and finding.message and finding.hint


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_judged(data: bytes) -> None:
    judged("compositional_skills/a/qna.yaml", data)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([SKILL, KNOWLEDGE]),
    st.lists(
        st.tuples(st.integers(0, 700), st.integers(0, 8), st.sampled_from(PIECES)), min_size=1, max_size=4
    ),
)
def test_a_leaf_with_pieces_changed_is_judged(leaf: str, edits: list[tuple[int, int, str]]) -> None:
    text = leaf
    for position, length, piece in edits:
        text = text[:position] + piece + text[position + length :]
    judged(f"{'knowledge' if leaf is KNOWLEDGE else 'compositional_skills'}/a/qna.yaml", text.encode())
