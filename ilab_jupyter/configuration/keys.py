"""Find and change values by dotted keys such as `train.num_epochs`."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from ilab_jupyter.configuration import editing, file
from ilab_jupyter.configuration.document import Document
from ilab_jupyter.configuration.sections import Section, Settings, fields
from ilab_jupyter.errors import InvalidInput, wrong_field

# A free dictionary: new keys are allowed.
FREE = "train.additional_args."
DEEPEST = 32
_HALF = re.compile(r"[\ud800-\udfff]")


def find(settings: Settings, key: str) -> Any:
    """The section or value of a key; InvalidInput with the closest names where there is none."""
    found: Any = settings
    for name in key.split("."):
        known = dict(found) if isinstance(found, Section) else found
        if not isinstance(known, Mapping) or name not in known:
            raise _unknown(settings, key)
        found = known[name]
    return found


def changed(document: Document, key: str, value: Any) -> Document:
    """`document` with another value, which is checked; InvalidInput for one that does not fit.

    A wrong value of the document can be replaced while others are still wrong; BadFile for a change of any
    other value in such a document.
    """
    try:
        settings = file.check(document, "this configuration")
    except file.BadFile:
        if not key.startswith(FREE):
            find(Settings(), key)
        if not _is_wrong(document, key):
            raise
        return _changed_in_wrong(document, key, value)
    if not key.startswith(FREE) and isinstance(find(settings, key), Section):
        inner = next(iter(fields(find(settings, key))), ("...", None))[0]
        raise InvalidInput(f"{key} is a section.", f"Set its values one by one, such as {key}.{inner}.")
    path, wanted = key.split("."), plain(value)
    edited = editing.changed(document, path, wanted)
    try:
        checked = find(file.check(edited, "this configuration"), key)
    except file.BadFile as error:
        raise InvalidInput(f"{error.problem}.", "Give another value; nothing was changed.") from None
    # "3" for a number is written as the number that it is read as
    if isinstance(wanted, str) and not isinstance(checked, str):
        return editing.changed(document, path, plain(checked))
    return edited


def _is_wrong(document: Document, key: str) -> bool:
    """Whether the value of this key, or one below it, is among those that do not fit."""
    path = tuple(key.split("."))
    try:
        Settings.model_validate(document.contents)
    except ValidationError as error:
        return any(tuple(map(str, detail["loc"]))[: len(path)] == path for detail in error.errors())
    return False


def _changed_in_wrong(document: Document, key: str, value: Any) -> Document:
    """`changed` where the document does not fit as a whole: the new value is checked by itself."""
    path, wanted = key.split("."), plain(value)
    if not key.startswith(FREE) and isinstance(find(Settings(), key), Section):
        raise InvalidInput(f"{key} is a section.", "Set its values one by one.")
    alone: Any = wanted
    for name in reversed(path):
        alone = {name: alone}
    try:
        checked = find(Settings.model_validate(alone), key)
    except ValidationError as error:
        raise InvalidInput(
            f"{wrong_field(error.errors()[0])}.", "Give another value; nothing was changed."
        ) from None
    if isinstance(wanted, str) and not isinstance(checked, str):
        wanted = plain(checked)
    return editing.changed(document, path, wanted)


def dumped(found: Any) -> Any:
    """A result of `find` as plain data: a section is a dict."""
    if isinstance(found, Section):
        return found.model_dump(mode="json")
    return [dumped(item) for item in found] if isinstance(found, list) else found


def plain(value: Any, depth: int = 0) -> Any:
    """Convert a value to YAML types: a path to text, a tuple to a list; InvalidInput for other types."""
    if depth > DEEPEST:
        raise InvalidInput(f"A value is nested more than {DEEPEST} deep.", "Give a flatter one.")
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str) and not value.isascii() and _HALF.search(value):
        raise InvalidInput(
            "A text contains an unpaired surrogate.", "Remove it: a file cannot hold half a character."
        )
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {plain(key): plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    raise InvalidInput(
        f"A {type(value).__name__} cannot be written into a configuration.",
        "Give a text, a number, True or False, None, a list, or a mapping with texts as keys.",
    )


def closest(key: str, known: Iterable[str]) -> list[str]:
    """The most similar known keys, the best first; at most three."""
    names = list(known)
    last = key.rpartition(".")[2]
    same_end = [name for name in names if name.rpartition(".")[2] == last]
    return list(dict.fromkeys([*same_end, *difflib.get_close_matches(key, names, n=3)]))[:3]


def _unknown(settings: Settings, key: str) -> InvalidInput:
    known = [name for name, _ in fields(settings)]
    sections = {name.rpartition(".")[0] for name in known} - {""}
    meant = closest(key, [*known, *sorted(sections)])
    advice = f"Did you mean {' or '.join(meant)}?" if meant else "Config.show() has all keys."
    return InvalidInput(f"There is no key {key[:100]!r} in the configuration.", advice, cause="unknown_key")
