"""The text of a new config.yaml: every field below its description, as InstructLab writes it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from ilab_jupyter.configuration.editing import flow_text, scalar_text
from ilab_jupyter.configuration.sections import Section

WIDTH = 88


def commented(section: Section, heading: Iterable[str] = ()) -> str:
    """The YAML text of a section, or of all of them, below the lines of `heading`."""
    lines = [line for sentence in heading for line in _comment(sentence, 0)]
    return "\n".join([*lines, *([""] if lines else []), *_lines(section, 0)]) + "\n"


def plain_text(values: Mapping[str, Any]) -> str:
    """The YAML text of plain values, mappings as blocks, without comments."""
    return "\n".join(_plain(values, 0)) + "\n" if values else ""


def value_text(value: Any) -> str:
    """One value on one line."""
    return flow_text(value) if isinstance(value, list | dict) else scalar_text(value)


def _lines(section: Section, depth: int) -> Iterable[str]:
    indent = "  " * depth
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        yield from _comment(field.description or "", depth)
        if isinstance(value, Section):
            yield f"{indent}{name}:"
            yield from _lines(value, depth + 1)
        else:
            plain = section.model_dump(mode="json", include={name})[name]
            yield f"{indent}{name}: {value_text(plain)}"
    yield from _plain(section.model_extra or {}, depth)


def _plain(values: Mapping[str, Any], depth: int) -> Iterable[str]:
    for name, value in values.items():
        key = f"{'  ' * depth}{scalar_text(name)}:"
        if isinstance(value, Mapping) and value:
            yield key
            yield from _plain(value, depth + 1)
        else:
            yield f"{key} {value_text(value)}"


def _comment(text: str, depth: int) -> list[str]:
    before = "  " * depth + "# "
    return textwrap.wrap(text, WIDTH, initial_indent=before, subsequent_indent=before, break_long_words=False)
