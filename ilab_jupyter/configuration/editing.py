"""Change one value of a YAML text and leave all other characters unchanged."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import yaml as yaml_1_1
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ilab_jupyter.configuration.document import Document, InvalidYaml, entry, is_alias, is_empty
from ilab_jupyter.errors import Conflict

_STEP = 2
_ALIAS = re.compile(r"\s*\*[^\s,\[\]{}]+")

# Words that are text in every version of YAML.
_WORD = re.compile(r"[A-Za-z/][A-Za-z0-9_/.-]*", re.ASCII)
_NO_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})

# Start, end, and replacement.
Edit = tuple[int, int, str]


def changed(document: Document, path: Sequence[str], value: Any) -> Document:
    """`document` with `value` at `path`, where it is put if there is none; every other line stays as it is.

    Conflict where the value is tied to others by an anchor, an alias or a merge.
    """
    expected = _with(document.contents, path, value)
    result: Document | None
    try:
        start, end, new = _edit(document, path, value)
        text = document.text[:start] + new + document.text[end:]
        result = Document.parse(text, document.byte_order_mark, document.encoding)
    except InvalidYaml:
        result = None
    # verify every edit: the text has the same content, except for this value
    if result is None or not _same(result.contents, expected):
        line, _ = document.position(path, key=True)
        raise Conflict(
            f"{'.'.join(path)} is tied to other values of the file by an anchor, an alias or a merge.",
            f"Change line {line} by hand.",
        )
    return result


def scalar_text(value: Any, quote: str | None = None, *, within_brackets: bool = False) -> str:
    """A text, number, boolean or None as YAML 1.1 and 1.2 both read it.

    `quote` is the quotation mark to keep.
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    if isinstance(value, float):
        short = repr(value)
        return short.replace("e", ".0e", 1) if "e" in short and "." not in short else short
    text = str(value)
    if quote is None and _WORD.fullmatch(text) and text.lower() not in _NO_WORDS:
        return text
    in_single = "'" + text.replace("'", "''") + "'"
    in_double = '"' + "".join(map(_escaped, text)) + '"'
    first = {"'": in_single, '"': in_double, None: text}[quote]
    for candidate in (first, in_single, in_double):
        if candidate.isprintable() and _reads_as(candidate, text, within_brackets):
            return candidate
    raise InvalidYaml(f"{text!r} cannot be written as YAML")


def flow_text(value: Any) -> str:
    """Any plain value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)}: {flow_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow_text(item) for item in value) + "]"
    return scalar_text(value, within_brackets=True)


def _escaped(character: str) -> str:
    """A character escaped for double quotation marks."""
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _reads_as(candidate: str, text: str, within_brackets: bool) -> bool:
    if candidate in ("<<", "="):  # as a key these say something else
        return False
    source, wanted = (f"[{candidate}]", [text]) if within_brackets else (f"k: {candidate}", {"k": text})
    try:
        read = YAML(typ="safe", pure=True).load(source)
        return bool(read == wanted == yaml_1_1.safe_load(source))
    except (YAMLError, yaml_1_1.YAMLError, ValueError, RecursionError):
        return False


def _key(key: str) -> str:
    return scalar_text(key, within_brackets=True)


def _edit(document: Document, path: Sequence[str], value: Any) -> Edit:
    text = document.text
    node: Node | None = document.root
    if node is None:
        line_end = "" if not text or text.endswith("\n") else "\n"
        return len(text), len(text), f"{line_end}{_lines(path, value, 0, _newline(text))}\n"
    key: ScalarNode | None = None
    within = _is_flow(node)
    for index, step in enumerate(path):
        if not isinstance(node, MappingNode):
            assert key is not None
            return _open_up(text, key, node, path[index:], value, within)
        pair = entry(node, step)
        if pair is None:
            return _insert(text, node, path[index:], value)
        key, node = pair
        within = within or _is_flow(node)
    assert key is not None
    return _replace(text, key, node, value, within)


def _replace(text: str, key: Node, node: Node, value: Any, within: bool) -> Edit:
    """Replace an existing value."""
    start, end = _after_colon(text, key), _end(text, key, node)
    if is_alias(key, node) or is_empty(node):
        return start, end, " " + _inline(value, None, within)
    if isinstance(node, ScalarNode) and node.style not in ("|", ">"):
        quote = node.style if isinstance(value, str) else None
        return node.start_mark.index, end, _inline(value, quote, within)
    plain = isinstance(value, list) and value and not any(isinstance(item, list | dict) for item in value)
    if isinstance(node, SequenceNode) and not node.flow_style and plain:
        between = _newline(text) + " " * node.start_mark.column
        return node.start_mark.index, end, between.join(f"- {scalar_text(item)}" for item in value)
    if _is_flow(node):
        return node.start_mark.index, end, _inline(value, None, within)
    return start, end, " " + _inline(value, None, within)


def _insert(text: str, mapping: MappingNode, path: Sequence[str], value: Any) -> Edit:
    """Add a key after the last one of the mapping."""
    if mapping.flow_style:
        one = f"{_key(path[0])}: {flow_text(_nested(path[1:], value))}"
        if not mapping.value:
            inside = mapping.end_mark.index - 1
            return inside, inside, one
        last = _end(text, *mapping.value[-1])
        return last, last, f", {one}"
    newline = _newline(text)
    line_end = _line_end(text, _end(text, *mapping.value[-1]))
    # not the mapping's own column: that is its anchor's, where it has one
    lines = _lines(path, value, mapping.value[0][0].start_mark.column, newline)
    return line_end, line_end, newline + lines


def _open_up(text: str, key: Node, node: Node, path: Sequence[str], value: Any, within: bool) -> Edit:
    """Replace an empty value or null by a mapping."""
    start, end = _after_colon(text, key), _end(text, key, node)
    if within:
        return start, end, f" {flow_text(_nested(path, value))}"
    line_end = _line_end(text, end)
    newline = _newline(text)
    lines = _lines(path, value, key.start_mark.column + _STEP, newline)
    return start, line_end, text[end:line_end] + newline + lines


def _lines(path: Sequence[str], value: Any, indent: int, newline: str) -> str:
    """`path` as nested block mappings, the value on the last line."""
    opened = [f"{' ' * (indent + depth * _STEP)}{_key(key)}:" for depth, key in enumerate(path)]
    return newline.join(opened) + " " + _inline(value, None, False)


def _inline(value: Any, quote: str | None, within: bool) -> str:
    if isinstance(value, dict | list | tuple):
        return flow_text(value)
    return scalar_text(value, quote, within_brackets=within)


def _is_flow(node: Node) -> bool:
    return bool(getattr(node, "flow_style", False))


def _after_colon(text: str, key: Node) -> int:
    colon = text.find(":", key.end_mark.index)
    return colon + 1 if colon >= 0 else int(key.end_mark.index)


def _end(text: str, key: Node, node: Node) -> int:
    """Position after the last character of a value. The parser's own mark may be after comments."""
    start = _after_colon(text, key)
    if is_alias(key, node):
        alias = _ALIAS.match(text, start)
        return alias.end() if alias else start
    return start if is_empty(node) else _node_end(text, node)


def _node_end(text: str, node: Node) -> int:
    if isinstance(node, MappingNode) and not node.flow_style:
        return _end(text, *node.value[-1])
    if isinstance(node, SequenceNode) and not node.flow_style:
        last = node.value[-1]
        if is_empty(last) or is_alias(node, last):
            raise InvalidYaml("where this list ends is not known")
        return _node_end(text, last)
    written = text[node.start_mark.index : node.end_mark.index]
    return int(node.start_mark.index) + len(written.rstrip())


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    if end < 0:
        return len(text)
    return end - 1 if text[end - 1] == "\r" else end


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _nested(path: Sequence[str], value: Any) -> Any:
    return {path[0]: _nested(path[1:], value)} if path else value


def _with(contents: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    inner = contents.get(path[0])
    below = inner if isinstance(inner, dict) else {}
    return {**contents, path[0]: _with(below, path[1:], value) if path[1:] else value}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(_same(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)
