"""Recipes for a mix: InstructLab's recipe files, or weights given as a mapping."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilab_jupyter import paths
from ilab_jupyter.curation import sources
from ilab_jupyter.curation.sources import Source
from ilab_jupyter.errors import InvalidInput, NotFound, Unprocessable
from ilab_jupyter.taxonomy import yamltext

Weight = int | float
_LOOKS_LIKE = "A recipe has `datasets`, a list with `path` and `sampling_size` each."


@dataclass(frozen=True)
class Ingredient:
    """One dataset of a mix. `amount` is a number of rows (int) or a share of its rows (float, 1.0 is all)."""

    files: tuple[Path, ...]
    amount: Weight


@dataclass(frozen=True)
class Recipe:
    """Datasets in order, and the system prompt for their rows (None: unchanged).

    `file` is the recipe file, or None for a mapping.
    """

    ingredients: tuple[Ingredient, ...]
    system_prompt: str | None
    file: Path | None


def read(recipe: Source | Mapping[str, Any]) -> Recipe:
    """Read a recipe from a YAML file, from a mapping of the same form, or from {dataset: weight}.

    A path in a file is relative to that file's folder. Raises Unprocessable, with line and column, for an
    invalid file, InvalidInput for an invalid mapping, NotFound for a missing dataset.
    """
    if not isinstance(recipe, Mapping):
        return _from_file(paths.given(recipe).absolute())
    if not isinstance(recipe.get("datasets"), list):
        recipe = {"datasets": [{"path": name, "sampling_size": size} for name, size in recipe.items()]}
    try:
        return _made(recipe, None)
    except _Wrong as error:
        raise InvalidInput(f"{error.what}.", _LOOKS_LIKE) from None


class _Wrong(Exception):
    def __init__(self, what: str, *position: str | int) -> None:
        super().__init__(what)
        self.what = what
        self.position = position


def _from_file(file: Path) -> Recipe:
    try:
        with file.open("rb") as stream:
            data = stream.read(yamltext.MAX_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(f"There is no recipe {file}.", "Give the path of a recipe's YAML file.") from None
    except OSError as error:
        raise Unprocessable(f"{file} cannot be read: {error.strerror}.", _LOOKS_LIKE) from None
    try:
        text = yamltext.read(data)
    except yamltext.Broken as error:
        where = f"{file.name}:{error.line}:{error.column}"
        raise Unprocessable(f"{where}: {error.message}.", _LOOKS_LIKE) from None
    try:
        return _made(text.contents, file)
    except _Wrong as error:
        line, column = text.position(error.position)
        where = f"{file.name}:{line}:{column}"
        raise Unprocessable(f"{where}: {error.what}.", _LOOKS_LIKE) from None


def _made(contents: Any, file: Path | None) -> Recipe:
    if not isinstance(contents, Mapping):
        raise _Wrong("a recipe is a mapping")
    listed = contents.get("datasets")
    if not isinstance(listed, list) or not listed:
        raise _Wrong("`datasets` is not a list with at least one dataset", "datasets")
    metadata = contents.get("metadata")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise _Wrong("`metadata` is no mapping", "metadata")
    prompt = (metadata or {}).get("sys_prompt")
    if prompt is not None and not isinstance(prompt, str):
        raise _Wrong("`sys_prompt` is not text", "metadata", "sys_prompt")
    return Recipe(
        tuple(_ingredient(position, one, file) for position, one in enumerate(listed)), prompt, file
    )


def _ingredient(position: int, listing: Any, file: Path | None) -> Ingredient:
    if not isinstance(listing, Mapping):
        raise _Wrong("a dataset is not a mapping with path and sampling_size", "datasets", position)
    path, amount = listing.get("path"), listing.get("sampling_size", 1.0)
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise _Wrong("`path` is missing or not text", "datasets", position, "path")
    number = isinstance(amount, int | float) and not isinstance(amount, bool)
    if not number or not 0 <= amount < 1e12:
        raise _Wrong(
            f"`sampling_size` is {str(amount)[:40]!r}, neither a number of rows nor a share",
            "datasets",
            position,
            "sampling_size",
        )
    named: Source = path
    if file is not None:
        named = file.parent / paths.given(path)
    return Ingredient(sources.files(named), amount)
