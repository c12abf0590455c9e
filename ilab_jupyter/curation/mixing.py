"""Mix several datasets by share, with the same rows as instructlab-sdg's recipes."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter import display, engine
from ilab_jupyter.curation import recipe as recipes
from ilab_jupyter.curation import sources, targets
from ilab_jupyter.curation.recipe import Ingredient, Weight
from ilab_jupyter.curation.sources import Source
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.progress import Reporter
from ilab_jupyter.registry import jsonl
from ilab_jupyter.training import data as training_data

# Every other field of a row goes into its metadata, as instructlab-sdg does it.
COLUMNS = ("id", "messages", "metadata", "unmask")
MAX_ROWS = 100_000_000


class Share(BaseModel):
    """The rows that a mix drew from one dataset."""

    model_config = ConfigDict(frozen=True)

    files: tuple[str, ...]
    amount: Weight = Field(description="As the recipe says it: rows, or a share of the rows.")
    available: int
    drawn: int
    empty: int = Field(description="Rows among the drawn ones that were left out, for a turn without text.")


class Mix(display.Shown, BaseModel):
    """A mixed dataset."""

    model_config = ConfigDict(frozen=True)

    output: str
    rows: int
    shares: tuple[Share, ...]
    seed: int
    replacement: bool

    def __fspath__(self) -> str:
        return self.output

    def __str__(self) -> str:
        counts = [
            f"{share.drawn - share.empty:,} of {share.available:,} rows from "
            f"{', '.join(Path(file).name for file in share.files)}"
            for share in self.shares
        ]
        return display.safe("\n".join([f"{display.counted(self.rows, 'row')}: {self.output}", *counts]))

    def _repr_html_(self) -> str:
        head = ("dataset", "requested", "available", "drawn", "removed as empty")
        listed = (
            (
                ", ".join(Path(file).name for file in share.files),
                share.amount,
                share.available,
                share.drawn,
                share.empty,
            )
            for share in self.shares
        )
        summary = f"{display.counted(self.rows, 'row')}: {self.output}"
        return f"<p>{display.html(summary)}</p>{display.table(head, listed)}"


def mix(
    recipe: Source | Mapping[str, Any],
    output: Source | None = None,
    *,
    system_prompt: str | None = None,
    seed: int = 42,
    replacement: bool | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Mix:
    """Write one messages JSONL with the rows that `recipe` draws from each of its datasets.

    `recipe` is an InstructLab recipe (`skills_recipe_*.yaml`), the same as a mapping, or {dataset: weight}. A
    weight is a number of rows (int) or a share of the dataset's rows (float; 1.0 takes all in their order).
    With the default seed, a recipe file yields the same rows as instructlab-sdg's `mix_datasets`, which draws
    with replacement. A mapping draws without replacement; a dataset with fewer rows than requested is
    repeated. `replacement` overrides both. `system_prompt`, or else that of the recipe, replaces the system
    prompt of every row.

    Rows with an empty user or assistant turn are dropped and counted, as in instructlab-sdg. Raises NotFound,
    InvalidInput, Conflict, or Unprocessable for an invalid recipe or row.
    """
    if not 0 <= seed < 2**32:
        raise InvalidInput(f"The seed is {seed}.", "Choose one from 0 to 4294967295.")
    made = recipes.read(recipe)
    inputs = [file for one in made.ingredients for file in one.files]
    default = targets.beside(made.file or inputs[0], "-mix.jsonl")
    file = targets.choose(output, default, [*inputs, *filter(None, [made.file])], overwrite)
    prompt = made.system_prompt if system_prompt is None else system_prompt
    again = made.file is not None if replacement is None else replacement
    shares = []
    rows = 0
    with targets.written(file, overwrite) as stream:
        for ingredient in made.ingredients:
            share = _pour(ingredient, stream, prompt, seed, again, reporter)
            rows += share.drawn - share.empty
            shares.append(share)
    return Mix(output=str(file), rows=rows, shares=tuple(shares), seed=seed, replacement=again)


def _pour(
    ingredient: Ingredient,
    stream: BinaryIO,
    prompt: str | None,
    seed: int,
    replacement: bool,
    reporter: Reporter | None,
) -> Share:
    positions = _Places(ingredient.files)
    drawn = empty = 0
    for position in _drawn(len(positions), ingredient.amount, seed, replacement):
        drawn += 1
        row = positions.read(position)
        if row is None:
            empty += 1
        else:
            stream.write(targets.line(_arranged(row, prompt)))
        if reporter and drawn % 500 == 0:
            sources.look(reporter, drawn, None)
    return Share(
        files=tuple(map(str, ingredient.files)),
        amount=ingredient.amount,
        available=len(positions),
        drawn=drawn,
        empty=empty,
    )


def _drawn(available: int, amount: Weight, seed: int, replacement: bool) -> Iterator[int]:
    if amount == 1.0 and isinstance(amount, float):
        return iter(range(available))
    wanted = amount if isinstance(amount, int) else int(available * amount)
    if not available or not wanted:
        return iter(())
    if wanted > MAX_ROWS:
        raise InvalidInput(
            f"{wanted:,} rows are requested.",
            f"Ask for up to {MAX_ROWS:,} of a dataset, or for a smaller share.",
        )
    engine.require("A mix", "numpy")
    import numpy

    # numpy guarantees that the stream of this legacy generator never changes; pandas' `sample`, which
    # instructlab-sdg uses, draws from it.
    generator = numpy.random.RandomState(seed)
    if replacement:
        return map(int, generator.choice(available, size=wanted, replace=True))
    laps = [generator.permutation(available) for _ in range(0, wanted, available)]
    return map(int, numpy.concatenate(laps)[:wanted])


class _Places:
    """Byte offsets and line numbers of the rows of some files; a row is read when it is drawn."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        self._files = files
        self._starts = [array("Q") for _ in files]
        self._rows = [array("Q") for _ in files]
        for file, starts, rows in zip(files, self._starts, self._rows, strict=True):
            with file.open("rb") as stream:
                start = 0
                for number, line in jsonl.lines(stream):
                    if line is None or line.strip():
                        starts.append(start)
                        rows.append(number)
                    start = stream.tell()

    def __len__(self) -> int:
        return sum(map(len, self._starts))

    def read(self, position: int) -> dict[str, Any] | None:
        """Return the fields of a row, or None if a turn of the user or assistant is empty."""
        for file, starts, rows in zip(self._files, self._starts, self._rows, strict=True):
            if position < len(starts):
                return _read(file, rows[position], starts[position])
            position -= len(starts)
        raise IndexError(position)


def _read(file: Path, number: int, start: int) -> dict[str, Any] | None:
    with file.open("rb") as stream:
        stream.seek(start)
        _, line = next(jsonl.lines(stream))
    if line is None:
        training_data.wrong(file, number, f"the line is longer than {jsonl.MAX_LINE} bytes")
    try:
        value = jsonl.parse(line)
    except jsonl.BadLine as error:
        training_data.wrong(file, number, str(error))
    if _lacks_text(value):
        return None
    return training_data.record(file, number, line, start).fields


def _lacks_text(value: Any) -> bool:
    messages = value.get("messages") if isinstance(value, dict) else None
    return isinstance(messages, list) and any(
        isinstance(message, dict)
        and message.get("role") in ("user", "assistant")
        and "content" in message
        and message["content"] in (None, "")
        for message in messages
    )


def _arranged(row: dict[str, Any], prompt: str | None) -> dict[str, Any]:
    """Return the row with InstructLab's four fields, the others in its metadata, and the system prompt."""
    messages = row["messages"]
    if prompt is not None:
        messages = [
            {**message, "content": prompt} if message["role"] == "system" else message for message in messages
        ]
        if messages[0]["role"] != "system":
            messages = [{"content": prompt, "role": "system"}, *messages]
    return {
        "messages": messages,
        "metadata": json.dumps({**_metadata(row.get("metadata")), **_others(row)}),
        "id": row.get("id") or hashlib.sha256(json.dumps(messages).encode()).hexdigest()[:32],
        "unmask": bool(row.get("unmask")),
    }


def _others(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in COLUMNS}


def _metadata(value: Any) -> dict[str, Any]:
    """Return the metadata, which InstructLab stores as a JSON string; other values go under `metadata`."""
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {"metadata": value}
    return value if isinstance(value, dict) else {} if value in (None, "") else {"metadata": value}
