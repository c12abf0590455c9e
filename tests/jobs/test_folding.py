"""Progress bars in a log: readers see what a terminal would show, for pieces of any size."""

from __future__ import annotations

import random

import pytest

from ilab_jupyter.jobs.logs.folding import Folder, fold, shorten

BAR = "".join(f"\r\x1b[32m{n:3d}%|{'#' * (n // 10):<10}|\x1b[0m {n}/100" for n in range(101))


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ("plain\ntext", "plain\ntext"),
        (f"before\n{BAR}\nafter\n", "before\n100%|##########| 100/100\nafter\n"),
        ("longer line\rshort\n", "shortr line\n"),
        ("windows\r\nlines\r\n", "windows\nlines\n"),
        ("10%\r20%\r", "20%"),
        ("\x1b[1mbold\x1b[0m \x1b]0;title\x07x\x00\x08y\tz", "bold xy\tz"),
        ("", ""),
    ],
)
def test_folded_log_equals_terminal_display(log: str, shown: str) -> None:
    assert fold(log) == shown


@pytest.mark.parametrize("seed", range(200))
def test_folding_does_not_depend_on_pieces(seed: int) -> None:
    chance = random.Random(seed)
    log = "".join(chance.choice(["ab", "\r", "\n", "xyz", "\x1b[31m", "é", "\r\r", "7"]) for _ in range(60))
    cuts = sorted(chance.randrange(len(log) + 1) for _ in range(6))
    pieces = [log[start:end] for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True)]
    folder = Folder()
    assert "".join(map(folder.feed, pieces)) + folder.close() == fold(log)
    assert fold("".join(map(shorten, pieces))) == fold(log)


def test_redrawn_progress_bar_stays_short() -> None:
    assert len(shorten(BAR * 1000)) < 200
    folder = Folder()
    for _ in range(1000):
        assert folder.feed(BAR) == ""
    assert folder.close() == "100%|##########| 100/100"
