"""A YAML reader for untrusted files: bounded, safe, with the line and column of every value."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as Loader
except ImportError:  # a PyYAML that was built without libyaml
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_ALIASES = 20
MAX_VALUES = 100_000

Position = tuple[int, int]


class Broken(Exception):
    """The text is no YAML that we read; `line` and `column` count from 1, `hint` says what to do there."""

    def __init__(self, message: str, position: Position = (1, 1), hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.line, self.column = position
        self.hint = hint or "Mend the YAML at this line."


@dataclass(frozen=True)
class Text:
    """A YAML text, its plain contents, and its node tree, which has the position of each value."""

    source: str
    contents: Any
    root: yaml.Node | None

    def position(self, path: Sequence[str | int], key: bool = False) -> Position:
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
        return position_of(self.source, found.index) if found is not None else (1, 1)

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


def read_file(file: Path) -> Text:
    """`read` of a file, of which never more than the limit is loaded; OSError where it cannot be opened."""
    # a pipe must not be waited for, and a device never ends
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Broken("it is no ordinary file", hint="Put an ordinary file here.")
        size = os.fstat(descriptor).st_size
        if size > MAX_BYTES:
            raise _too_large(size)
        return read(stream.read(MAX_BYTES + 1))


def read(data: bytes) -> Text:
    """Parse `data`; Broken for what is too large, too deep, not UTF-8, not YAML, or says a key twice.

    A byte order mark is left out of the text.
    """
    if len(data) > MAX_BYTES:
        raise _too_large(len(data))
    source = _decoded(data)
    try:
        _check_bounds(source)
        root = yaml.compose(source, Loader=_loader(source))
        if root is not None:
            _check_keys(source, root)
        contents = None if root is None else _Values().construct_document(root)
    except yaml.MarkedYAMLError as error:
        raise _explained(source, error) from None
    return Text(source, contents, root)


def _loader(source: str) -> Any:
    """libyaml reads tabs where PyYAML itself, which InstructLab's generator uses, does not."""
    return yaml.SafeLoader if "\t" in source else Loader


class _Values(yaml.constructor.SafeConstructor):
    """Makes plain values of nodes; a value that Python cannot hold, such as month 13, raises Broken."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError, AttributeError) as error:
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None


def _too_large(size: int) -> Broken:
    return Broken(
        f"the file has {size:,} bytes, more than the {MAX_BYTES:,} that are read", hint="Split the leaf."
    )


def scalars(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    """The values in a node tree that are texts, numbers and the like, not the keys; each once."""
    seen: set[int] = set()
    waiting = [] if node is None else [node]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, yaml.ScalarNode):
            yield one
        elif isinstance(one, yaml.SequenceNode):
            waiting += reversed(one.value)
        elif isinstance(one, yaml.MappingNode):
            waiting += [value for _, value in reversed(one.value)]


def comment_behind(source: str, node: yaml.ScalarNode) -> str | None:
    """The comment that ends a text without quotes on its last line; None for other values and without one."""
    if node.style or not node.tag.endswith(":str"):
        return None
    line = source[node.end_mark.index :].split("\n", 1)[0]
    behind = line.strip()
    return behind if behind.startswith("#") else None


def position_of(source: str, index: int) -> Position:
    """Counted as editors count: for YAML itself, some rarer characters end a line too."""
    start = source.rfind("\n", 0, index) + 1
    return source.count("\n", 0, index) + 1, index - start + 1


def _decoded(data: bytes) -> str:
    hint = "Save the file as UTF-8."
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4]:
        raise Broken("the file is UTF-16 or UTF-32, not UTF-8 text", hint=hint)
    try:
        source = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8").removeprefix("\ufeff")
        raise Broken("the file is not UTF-8 text", position_of(before, len(before)), hint) from None
    wrong = yaml.reader.Reader.NON_PRINTABLE.search(source)
    if wrong is not None:
        raise Broken(
            f"not valid YAML: the character #x{ord(wrong.group()):04x} is not allowed",
            position_of(source, wrong.start()),
            "Remove this character.",
        )
    return source


def _explained(source: str, error: yaml.MarkedYAMLError) -> Broken:
    problem = " ".join(part for part in (error.problem, error.context) if part)
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Broken(f"not valid YAML: {problem}")
    opened = error.context_mark
    if opened is not None and mark.index >= len(source.rstrip()):
        # what was never closed is mended where it was opened, not where the text ran out
        is_quote = source[opened.index : opened.index + 1] in ("'", '"')
        hint = "Close the quote." if is_quote else "Close what opens here."
        return Broken(f"not valid YAML: {problem}", position_of(source, opened.index), hint)
    quote = _open_quote(source, mark)
    if quote is not None:
        position = position_of(source, quote.index)
        return Broken(
            "not valid YAML: this quote is closed only some lines later", position, "Close the quote."
        )
    if source[mark.index : mark.index + 1] == "\t":
        hint = "Indent with spaces, not with tabs."
    elif "mapping values" in problem or "cannot start any token" in problem:
        hint = "Put the text in quotes."
    elif "constructor for the tag" in problem:
        hint = "Remove the tag, the word that starts with `!`."
    else:
        hint = ""
    return Broken(f"not valid YAML: {problem}", position_of(source, mark.index), hint)


def _open_quote(source: str, mark: Any) -> Any:
    """Where the text in quotes starts that runs over lines and ends in the line of `mark`: its own end was
    probably forgotten.
    """
    found = None
    try:
        for token in yaml.scan(source, Loader=_loader(source)):
            start, end = token.start_mark, token.end_mark
            if start.index > mark.index:
                break
            if isinstance(token, yaml.ScalarToken) and token.style in ('"', "'") and start.line < end.line:
                found = start if end.line == mark.line else None
    except yaml.YAMLError:
        pass
    return found


@dataclass
class _Open:
    """A collection whose end has not come yet: its anchor, the values before it, the levels below it."""

    anchor: str | None
    before: int
    height: int = 0


def _check_bounds(source: str) -> None:
    """Events come before the recursive parts of the parser, so a hostile depth never reaches those.

    The target of an alias counts each time that it is used.
    """
    aliases = values = 0
    around: list[_Open] = []
    anchored: dict[str, tuple[int, int]] = {}
    for event in yaml.parse(source, Loader=_loader(source)):
        start: Any = event.start_mark
        height = 0
        if isinstance(event, yaml.CollectionStartEvent):
            around.append(_Open(event.anchor, values))
            values += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            done = around.pop()
            height = done.height + 1
            if done.anchor is not None:
                anchored[done.anchor] = (values - done.before, height)
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
            if any(event.anchor == collection.anchor for collection in around):
                position = position_of(source, start.index)
                raise Broken(f"{event.anchor!r} contains itself", position, "Write the value out.")
            size, height = anchored.get(str(event.anchor), (1, 0))
            values += size
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
        if around:
            around[-1].height = max(around[-1].height, height)
        for too_much, what, hint in (
            (len(around) + height > MAX_DEPTH, f"nesting deeper than {MAX_DEPTH}", "Nest less deeply."),
            (aliases > MAX_ALIASES, f"more than {MAX_ALIASES} aliases", "Write the values out."),
            (values > MAX_VALUES, f"more than {MAX_VALUES:,} values", "Split the leaf."),
        ):
            if too_much:
                raise Broken(f"{what} is not read", position_of(source, start.index), hint)


def _check_keys(source: str, node: yaml.Node) -> None:
    """PyYAML takes the last of two equal keys without a word, and the first value would be lost."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(source, item)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            position = position_of(source, key.start_mark.index)
            if not isinstance(key, yaml.ScalarNode) or not key.tag.endswith((":str", ":merge")):
                raise Broken("a key that is not a text", position, "Put the key in quotes.")
            if key.value in seen:
                name = key.value[:60]
                raise Broken(f"the key {name!r} is here a second time", position, "Keep one of the two.")
            seen.add(key.value)
            _check_keys(source, value)
