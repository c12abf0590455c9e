"""Untrusted YAML text: bounded, safe, and with the line and column of every value.

It is read as YAML 1.2, as InstructLab reads its files: `2e-5` is a number and `yes` is a text.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, DocumentStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_NODES = 5_000
MAX_EXPANDED = 20_000
MAX_DIGITS = 40

# What JSON has too, dates, and the merge key. Others ask for Python objects, or for bytes.
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("map", "seq", "str", "int", "float", "bool", "null", "merge", "timestamp", "value")
)
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_BYTE_ORDERS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

Position = tuple[int, int]


class InvalidYaml(Exception):
    """The text is not YAML, or exceeds a limit; `line` and `column` count from 1."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


@dataclass(frozen=True)
class Document:
    """A text, its content as plain data, and its node tree with the position of each value."""

    text: str
    contents: dict[str, Any]
    root: MappingNode | None
    byte_order_mark: bytes = b""
    encoding: str = "utf-8"

    @classmethod
    def read(cls, data: bytes) -> Document:
        """Parse a file's bytes: UTF-8, or UTF-16 with a byte order mark; InvalidYaml otherwise."""
        if len(data) > MAX_BYTES:
            raise InvalidYaml(f"the file has {len(data):,} bytes, more than the {MAX_BYTES:,} that are read")
        mark, encoding = next((pair for pair in _BYTE_ORDERS if data.startswith(pair[0])), (b"", "utf-8"))
        try:
            text = data[len(mark) :].decode(encoding)
        except UnicodeDecodeError as error:
            good = data[len(mark) :][: error.start].decode(encoding)
            raise InvalidYaml(f"the file is not {encoding.upper()} text", *_position_after(good)) from None
        return cls.parse(text, mark, encoding)

    @classmethod
    def parse(cls, text: str, byte_order_mark: bytes = b"", encoding: str = "utf-8") -> Document:
        """Parse a text whose outermost level is a mapping; an empty one is an empty mapping."""
        try:
            _check_events(text)
            root = _yaml().compose(text)
            if root is not None and is_empty(root):  # only `---` is written
                root = None
            if root is not None and not isinstance(root, MappingNode):
                raise InvalidYaml("the file has no `key: value` lines", *_at(root))
            if root is not None:
                _check_nodes(root)
            contents = _yaml().load(text)
        except MarkedYAMLError as error:
            raise _located(error) from None
        except ReaderError as error:
            location = _position_after(text[: error.position])
            raise InvalidYaml(f"the character U+{error.character:04X} is not allowed", *location) from None
        except (YAMLError, ValueError) as error:  # ValueError: such as a date with month 13
            raise InvalidYaml(f"not valid YAML: {error}", *_unreadable(text)) from None
        return cls(text, dict(contents or {}), root, byte_order_mark, encoding)

    def encoded(self) -> bytes:
        """The bytes of the file."""
        return self.byte_order_mark + self.text.encode(self.encoding)

    def section(self, path: Sequence[str]) -> str:
        """The lines below `path` as a text of their own, comments included; empty where there are none."""
        node: Node | None = self.root
        for step in path:
            pair = entry(node, step) if isinstance(node, MappingNode) else None
            if pair is None or is_alias(*pair):
                return ""
            key, node = pair
        if not isinstance(node, MappingNode) or node.flow_style:
            return ""
        start = self.text.find("\n", key.end_mark.index) + 1
        lines = self.text[start : node.end_mark.index].splitlines()
        indent = node.value[0][0].start_mark.column
        # behind the last value there may be comments that belong to what comes next
        while lines and (not lines[-1].strip() or lines[-1][:indent].strip()):
            lines.pop()
        return "".join(f"{line[indent:]}\n" for line in lines)

    def position(self, path: Sequence[str | int], *, key: bool = False) -> Position:
        """Line and column of the value at `path`, or of its key; of the nearest parent that exists.

        An empty value has the position of its key.
        """
        node: Node | None = self.root
        found: Any = node
        for index, step in enumerate(path):
            if isinstance(node, MappingNode):
                pair = entry(node, str(step))
                if pair is None:
                    break
                name, node = pair
                on_key = (key and index == len(path) - 1) or is_empty(node) or is_alias(name, node)
                found = name if on_key else node
            elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
                found = node = node.value[step]
            else:
                break
        return _at(found) if found is not None else (1, 1)


def entry(mapping: MappingNode, key: str) -> tuple[ScalarNode, Node] | None:
    """The key's node and its value's; None where the mapping itself has no such key."""
    return next(((name, value) for name, value in mapping.value if name.value == key), None)


def is_empty(node: Node) -> bool:
    """Whether a value is empty."""
    return isinstance(node, ScalarNode) and node.value == "" and node.style is None


def is_alias(key: Node, value: Node) -> bool:
    """Whether the value is an alias, `*name`, of a value further up."""
    return bool(value.start_mark.index < key.start_mark.index)


def _yaml() -> YAML:
    return YAML(typ="safe", pure=True)


def _at(node: Node) -> Position:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _position_after(text: str) -> Position:
    return text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1


def _check_events(text: str) -> None:
    """Check depth and size on events, before the recursive parts of the parser."""
    documents = 0
    around: list[str | None] = []
    for count, event in enumerate(_yaml().parse(text)):
        what = ""
        if isinstance(event, CollectionStartEvent):
            around.append(event.anchor)
            what = f"nesting deeper than {MAX_DEPTH} is not read" if len(around) > MAX_DEPTH else ""
        elif isinstance(event, CollectionEndEvent):
            around.pop()
        elif isinstance(event, AliasEvent) and event.anchor in around:
            what = f"{event.anchor!r} contains itself"
        elif isinstance(event, DocumentStartEvent):
            documents += 1
            what = "a second document begins here, and a configuration has one" if documents > 1 else ""
        if count > MAX_NODES:
            what = f"more than {MAX_NODES:,} values are not read"
        if what:
            raise InvalidYaml(what, event.start_mark.line + 1, event.start_mark.column + 1)


def _check_nodes(root: Node) -> None:
    """Refuse unknown tags, duplicate keys, very long numbers and exponential expansion of aliases."""
    sizes: dict[int, int] = {}
    for node in _from_the_leaves(root, set()):
        if node.tag not in _TAGS:
            raise InvalidYaml(f"the tag {node.tag} is not read", *_at(node))
        if isinstance(node, ScalarNode):
            if node.tag in _NUMBERS and len(node.value) > MAX_DIGITS:
                raise InvalidYaml(f"a number of {len(node.value):,} characters is not read", *_at(node))
            sizes[id(node)] = 1
            continue
        if isinstance(node, MappingNode):
            _check_keys(node)
        sizes[id(node)] = 1 + sum(sizes[id(child)] for child in _children(node))
        if sizes[id(node)] > MAX_EXPANDED:
            raise InvalidYaml(f"with its aliases this has more than {MAX_EXPANDED:,} values", *_at(node))


def _check_keys(mapping: MappingNode) -> None:
    """Refuse duplicate keys with a readable message."""
    seen: set[tuple[Any, Any]] = set()
    for key, _ in mapping.value:
        if not isinstance(key, ScalarNode):
            raise InvalidYaml("a key has to be a text", *_at(key))
        if (key.tag, key.value) in seen:
            raise InvalidYaml(f"the key {key.value!r} is here a second time", *_at(key))
        seen.add((key.tag, key.value))


def _from_the_leaves(node: Node, seen: set[int]) -> Iterator[Node]:
    """Every node once, in post-order."""
    seen.add(id(node))
    for child in _children(node):
        if id(child) not in seen:
            yield from _from_the_leaves(child, seen)
    yield node


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


def _located(error: MarkedYAMLError) -> InvalidYaml:
    # what was never closed is corrected where it was opened, not at the end of the text
    at_the_end = any(words in str(error.problem) for words in ("end of stream", "<stream end>"))
    ran_out = at_the_end and error.context_mark
    mark = ran_out or error.problem_mark or error.context_mark
    problem = " ".join(part for part in (error.problem, error.context) if part)
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return InvalidYaml(f"not valid YAML: {problem}", line, column)


def _unreadable(text: str) -> Position:
    """The position of the first scalar that looks like a date or number and is not valid."""
    for node in _from_the_leaves(_yaml().compose(text), set()):
        if isinstance(node, ScalarNode) and node.style is None:
            try:
                _yaml().load(node.value)
            except (YAMLError, ValueError):
                return _at(node)
    return 1, 1
