"""Paths that people give: what no file can have is refused in words before anything is done with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter import paths
from ilab_jupyter.core import Config, Data, Taxonomy
from ilab_jupyter.errors import InvalidInput

IMPOSSIBLE = ["x" * 300, "~nobody-here/x", "a/" * 2000, "a\0b", "\ud800", 5, b"bytes", []]


@pytest.mark.parametrize("path", IMPOSSIBLE, ids=lambda path: repr(path)[:10])
def test_impossible_path_is_refused_everywhere(path: Any) -> None:
    for ask in (
        lambda: paths.given(path),
        lambda: Taxonomy.tree(path),
        lambda: Taxonomy.init(path),
        lambda: Config.load(path),
        lambda: Config.init(path, write=False),
        lambda: Data("taxonomy", output_dir=path),
        lambda: Data.annotate("pairs.jsonl", path),
    ):
        with pytest.raises(InvalidInput):
            ask()


def test_a_path_is_what_was_given() -> None:
    assert paths.given("~/a b") == Path.home() / "a b" and paths.given(Path("/é")) == Path("/é")
    assert paths.given("x" * 255).name == "x" * 255
