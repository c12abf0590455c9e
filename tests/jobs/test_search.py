"""Search in a log: complete, bounded in time and memory, and without revealing secrets."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import InvalidInput, NotFound
from ilab_jupyter.jobs.logs import search
from ilab_jupyter.jobs.logs.masking import GENERAL, Mask
from ilab_jupyter.jobs.record import LogMatches


def look(path: Path, pattern: str, *, regex: bool = False, mask: Mask = GENERAL, **more: Any) -> LogMatches:
    options = {"attempt": 1, "offset": 0, "limit": 100, "final": True, **more}
    return search.search(path, search.compiled(pattern, regex=regex), mask=mask, **options)


def test_search_ignores_case_and_returns_offsets(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("Loss 1\nnothing\nÉTÉ: loss 2 LOSS\r\nend of loss", encoding="utf-8")
    found = look(path, "loss")
    assert [(one.offset, one.text) for one in found.matches] == [
        *((0, "Loss 1"), (15, "ÉTÉ: loss 2 LOSS"), (35, "end of loss")),
    ]
    assert found.complete and found.next_offset == path.stat().st_size
    assert [one.text for one in look(path, "été").matches] == ["ÉTÉ: loss 2 LOSS"]
    assert not look(path, "l.ss").matches and not look(path, "absent").matches
    assert [one.offset for one in look(path, r"^\w+ \d$", regex=True).matches] == [0]
    assert len(look(path, "x*", regex=True).matches) == 4, "an empty match counts once per line"
    assert not look(path, r"1\s+nothing", regex=True).matches, "a match does not span lines"


def test_continued_search_finds_each_line_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {n} {'x' * (n % 300)}\n" for n in range(20_000)))
    seen, offset = [], 0
    while True:
        found = look(path, "line", offset=offset, limit=777)
        seen += [one.text.split()[1] for one in found.matches]
        offset = found.next_offset
        if found.complete:
            break
    assert seen == [str(n) for n in range(20_000)]


def test_invalid_pattern_is_refused(harness: Any) -> None:
    job = harness.submit(["print", "hello"])
    harness.end(job.id)
    for pattern, regex in (("", False), ("x" * 1001, False), ("(", True), (r"(?=x)", True), (r"(a)\1", True)):
        with pytest.raises(InvalidInput):
            harness.jobs.search(job.id, pattern, regex=regex)
    with pytest.raises(InvalidInput):
        harness.jobs.search(job.id, "x", limit=0)
    with pytest.raises(NotFound):
        harness.jobs.search(job.id, "x", attempt=2)
    assert [one.text for one in harness.jobs.search(job.id, "HELLO").matches] == ["hello"]


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){20}b", "(x+x+)+y"])
def test_search_is_bounded_in_time(tmp_path: Path, pattern: str) -> None:
    path = tmp_path / "log"
    path.write_text(("a" * 20_000 + "!\n") * 1000)
    started = time.monotonic()
    found = look(path, pattern, regex=True)
    assert time.monotonic() - started < search.SECONDS + 3
    assert found.next_offset > 0


def test_search_in_a_huge_line_needs_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(b"y" * 1_000_000)
        file.write(b" needle " + b"z" * 1_000_000 + b"\nlast needle\n")
    tracemalloc.start()
    found, offset = [], 0
    while True:
        page = look(path, "needle", offset=offset)
        found, offset = found + page.matches, page.next_offset
        if page.complete:
            break
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6
    assert [one.text[:6] for one in found][-1] == "last n" and len(found) == 2
    assert "needle" in found[0].text and len(found[0].text) <= search.MAX_TEXT


def test_search_does_not_reveal_secrets(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("login with hunter2222 now\ntoken hf_aB3dE5gH7jK9mN1pQ3sT5vW7yZ\n")
    mask = Mask(["hunter2222"])
    for guess in ("hunter2", "h", "hf_", "aB3d", "2222"):
        matches = [one.text for one in look(path, guess, mask=mask).matches]
        assert matches in ([], ["login with ********** now"]), guess
    assert not look(path, "hunter.*", regex=True, mask=mask).matches
    assert [one.text for one in look(path, "login", mask=mask).matches] == ["login with ********** now"]
    path.write_text("a line\nnow hunter2")
    assert not look(path, "hunter", mask=mask, final=False).matches, "it is still being written"
