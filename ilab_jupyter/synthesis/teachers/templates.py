"""Reads instructlab-sdg's prompts backwards: which of its configurations made a prompt, and with which
fields.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

_PARTS = ("system", "introduction", "principles", "examples", "generation")
_FIELD = re.compile(r"\{\{\s*(\w+)\s*\}\}")

# Any text that a prompt cannot contain.
_MARK = "\ue000"


@dataclass(frozen=True)
class Prompt:
    """A prompt that was recognised: the name of its configuration, such as `simple_generate_qa`, and its
    fields.
    """

    config: str
    fields: Mapping[str, str]


class Templates:
    """All configurations of the installed instructlab-sdg as patterns.

    `known` gives, for a field, values that it may have. They are tried first: where a seed question has
    several lines, nothing but knowing it tells where it ends and its answer begins.
    """

    def __init__(self, known: Mapping[str, Iterable[str]] | None = None) -> None:
        values = {
            field: sorted(set(texts), key=lambda text: (-len(text), text))
            for field, texts in (known or {}).items()
        }
        self._patterns = [(name, _pattern(text, values)) for name, text in _sources()]

    def recognise(self, prompt: str) -> Prompt | None:
        """The configuration and fields of `prompt`, which may be wrapped in a model family's tags; None if it
        is another's.
        """
        text = unwrap(prompt)
        for name, pattern in self._patterns:
            match = pattern.fullmatch(text)
            if match:
                return Prompt(name, match.groupdict())
        return None


def _sources() -> list[tuple[str, str]]:
    """(configuration name, template), joined as instructlab-sdg's LLMBlock joins them."""
    found = []
    for folder in ("knowledge", "skills"):
        for file in sorted(
            resources.files(f"instructlab.sdg.configs.{folder}").iterdir(), key=lambda item: item.name
        ):
            if file.name.endswith(".yaml"):
                config = yaml.safe_load(file.read_text(encoding="utf-8"))
                found.append(
                    (file.name.removesuffix(".yaml"), "\n".join(config[part] or "" for part in _PARTS))
                )
    return found


def _pattern(template: str, known: Mapping[str, list[str]]) -> re.Pattern[str]:
    pieces = _FIELD.split(template.strip())
    seen: set[str] = set()
    pattern = ""
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            pattern += re.escape(piece)
        elif piece in seen:
            pattern += f"(?P={piece})"
        else:
            seen.add(piece)
            values = [re.escape(value) for value in known.get(piece, [])]
            pattern += f"(?P<{piece}>{'|'.join([*values, '.*?'])})"
    return re.compile(pattern, re.DOTALL)


@functools.cache
def _wrappers() -> list[tuple[str, str]]:
    """(before, after) of each model family that instructlab-sdg knows, the longest first."""
    import instructlab.sdg.prompts  # noqa: F401  registers the families
    from instructlab.sdg.registry import PromptRegistry

    registry: Any = PromptRegistry
    found = set()
    for template in registry.get_registry().values():
        messages = [{"role": "user", "content": _MARK}]
        before, _, after = (
            template.render(messages=messages, prompt=_MARK, add_generation_prompt=True)
            .strip()
            .partition(_MARK)
        )
        found.add((before.lstrip(), after.rstrip()))
    return sorted(found, key=lambda pair: -len("".join(pair)))


def unwrap(prompt: str) -> str:
    """`prompt` without the tags of its model family, as a chat message would carry it."""
    text = prompt.strip()
    for before, after in _wrappers():
        if text.startswith(before) and text.endswith(after) and len(text) > len(before) + len(after):
            return text[len(before) : len(text) - len(after)].strip()
    return text
