"""Reads YAML that somebody else wrote: bounded, safe, and with the line and column of every value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_ALIASES = 20

Place = tuple[int, int]


class Broken(Exception):
    """The text is no YAML that we read; `line` and `column` count from 1."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


@dataclass(frozen=True)
class Text:
    """A YAML text, its plain contents, and its node tree, which knows where each value stands."""

    source: str
    contents: Any
    root: yaml.Node | None

    def place(self, path: Sequence[str | int], key: bool = False) -> Place:
        """Line and column of the value at `path`, or of its key; of the nearest parent that exists."""
        node = self.root
        found = node.start_mark if node is not None else None
        for index, step in enumerate(path):
            last = index == len(path) - 1
            if isinstance(node, yaml.MappingNode):
                pair = next((p for p in node.value if p[0].value == str(step)), None)
                if pair is None:
                    break
                node = pair[1]
                found = pair[0].start_mark if last and key else node.start_mark
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                found = node.start_mark
            else:
                break
        return (found.line + 1, found.column + 1) if found is not None else (1, 1)

    def span(self, path: Sequence[str]) -> tuple[int, int]:
        """Start and end, in characters, of the scalar at `path`; KeyError where there is none."""
        node = self.root
        for step in path:
            if not isinstance(node, yaml.MappingNode):
                raise KeyError(step)
            node = next((value for name, value in node.value if name.value == step), None)
        if not isinstance(node, yaml.ScalarNode):
            raise KeyError(path[-1])
        return node.start_mark.index, node.end_mark.index


def read(data: bytes) -> Text:
    """Parse `data`; Broken for what is too large, too deep, not UTF-8, not YAML, or says a key twice."""
    if len(data) > MAX_BYTES:
        raise Broken(f"the file has {len(data):,} bytes, more than the {MAX_BYTES:,} that are read")
    try:
        source = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Broken("the file is not UTF-8 text", line) from None
    try:
        _check_bounds(source)
        root = yaml.compose(source, Loader=yaml.SafeLoader)
        if root is not None:
            _check_keys(root)
        contents = yaml.safe_load(source)
    except yaml.MarkedYAMLError as error:
        # what was never closed is mended where it was opened, not where the text ran out
        ran_out = "end of stream" in str(error.problem) and error.context_mark
        mark = ran_out or error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.problem, error.context) if part)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise Broken(f"not valid YAML: {problem}", line, column) from None
    except yaml.reader.ReaderError as error:
        line = source.count("\n", 0, error.position) + 1
        raise Broken(f"not valid YAML: the character #x{error.character:04x} is not allowed", line) from None
    except ValueError as error:  # such as a date with month 13
        raise Broken(f"not valid YAML: {error}") from None
    return Text(source, contents, root)


def _check_bounds(source: str) -> None:
    """Events come before the recursive parts of the parser, so a hostile depth never reaches those."""
    aliases = 0
    around: list[str | None] = []
    for event in yaml.parse(source, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            around.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            around.pop()
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
            if event.anchor in around:
                start: Any = event.start_mark
                raise Broken(f"{event.anchor!r} contains itself", start.line + 1, start.column + 1)
        depth = len(around)
        if depth > MAX_DEPTH or aliases > MAX_ALIASES:
            what = (
                f"nesting deeper than {MAX_DEPTH}"
                if depth > MAX_DEPTH
                else f"more than {MAX_ALIASES} aliases"
            )
            mark: Any = event.start_mark
            raise Broken(f"{what} is not read", mark.line + 1, mark.column + 1)


def _check_keys(node: yaml.Node) -> None:
    """PyYAML takes the last of two equal keys without a word, and the first value would be lost."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise Broken(
                        f"the key {key.value!r} is here a second time",
                        key.start_mark.line + 1,
                        key.start_mark.column + 1,
                    )
                seen.add(key.value)
            _check_keys(value)
