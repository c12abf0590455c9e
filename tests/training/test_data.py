"""Validation of training data row by row, with the first problem."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.training import data

USER = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "ho"}
GOOD = json.dumps({"messages": [USER, ANSWER]}).encode()


def row(*messages: Any, **fields: Any) -> bytes:
    return json.dumps({"messages": list(messages), **fields}).encode()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"messages": [', "not JSON at column 15"),
        (b"hello", "not JSON at column 1"),
        (b'{"messages": "\xff"}', "not UTF-8 at byte 15"),
        (b"\xef\xbb\xbf" + GOOD, "byte order mark"),
        (GOOD.decode().encode("utf-16"), "not UTF-8 at byte 1"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"messages": [], "n": NaN}', "NaN is no JSON number"),
        (b"[1, 2]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b'{"text": "hi"}', "`messages` is missing"),
        (b'{"messages": null}', "`messages` is not a list"),
        (row(), "`messages` is not a list with at least one message"),
        (row("hi"), r"`messages\[0\]` is not an object"),
        (row({"role": "robot", "content": "x"}), r"`messages\[0\].role` is 'robot'"),
        (row({"content": "x"}, ANSWER), r"`messages\[0\].role` is missing"),
        (row({"role": ["user"], "content": "x"}), r"`messages\[0\].role`"),
        (row(USER, {"role": "system", "content": "x"}, ANSWER), r"`messages\[1\].role` is 'system'"),
        (row(USER, {"role": "assistant"}), r"`messages\[1\].content` is not text"),
        (row(USER, {"role": "assistant", "content": None}), r"`messages\[1\].content` is not text"),
        (
            row({"role": "user", "content": [{"type": "text"}]}, ANSWER),
            r"`messages\[0\].content` is not text",
        ),
        (row(USER, {"role": "assistant", "content": 4}), r"`messages\[1\].content` is not text"),
        (
            row(USER, {"role": "assistant", "content": "  \n"}),
            r"`messages\[1\].content` of the assistant is empty",
        ),
        (row(USER), "no message of the assistant"),
        (row(USER, ANSWER, unmask="yes"), "`unmask` is neither"),
        (b'{"messages": "' + b"x" * (9 * 1024 * 1024) + b'"}', "the line is longer than 8388608 bytes"),
    ],
)
def test_a_wrong_row_is_named(line: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_bytes(GOOD + b"\n\n" + GOOD + b"\r\n" + line + b"\n" + GOOD + b"\n")
    with pytest.raises(Unprocessable, match=words) as caught:
        data.check([file])
    assert caught.value.message.startswith("pairs.jsonl, row 4: ")
    assert caught.value.cause == "bad_data"
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_rows_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "empty.jsonl"
    file.write_bytes(content)
    with pytest.raises(Unprocessable, match=r"empty\.jsonl is empty"):
        data.check([file])


def test_pickle_with_jsonl_suffix_is_not_loaded(tmp_path: Path) -> None:
    import pickle

    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str, str]]:
            return open, (str(canary), "w")

    file = tmp_path / "evil.jsonl"
    file.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(Unprocessable):
        data.check([file])
    assert not canary.exists()


def test_unmask_is_read_and_other_fields_ignored(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    system = {"role": "system", "content": ""}
    file.write_bytes(
        row(system, USER, ANSWER, ANSWER, id="7", metadata="{}", unmask=True)
        + b"\n"
        + row(ANSWER, unmask=None)
    )
    first, second = data.read(file)
    assert (first.row, first.unmask, len(first.messages)) == (1, True, 4)
    assert (second.row, second.unmask) == (2, False)


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    files[0].write_bytes(GOOD + b"\n")
    files[1].write_bytes(row(ANSWER) + b"\n")
    found = data.check(files)
    assert found.rows == 2
    assert found.sha256 == hashlib.sha256(files[0].read_bytes() + files[1].read_bytes()).hexdigest()


def test_large_file_is_read_in_constant_memory(tmp_path: Path) -> None:
    file = tmp_path / "large.jsonl"
    # Few large rows: tracemalloc makes each row expensive, and the bound is on bytes.
    file.write_bytes((row(USER, {"role": "assistant", "content": "x" * 10_000}) + b"\n") * 3000)
    tracemalloc.start()
    assert data.check([file]).rows == 3000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert file.stat().st_size > 30_000_000
    assert peak < 6_000_000
