"""The parser of a command: options anywhere on the line, both spellings, a suggestion for a mistyped one."""

from __future__ import annotations

import argparse
import difflib
import typing
from collections.abc import Sequence
from typing import Any, Literal, NoReturn

from pydantic.fields import FieldInfo

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.kinds.kind import without_none

# Minimum similarity of a mistyped word and its suggestion; 1 is equal.
SIMILARITY = 0.7


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises InvalidInput instead of ending the process."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=f"%ilab {command}",
            description=description,
            add_help=False,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.command = command

    def error(self, message: str) -> NoReturn:
        raise InvalidInput(f"{self.prog}: {message}.", f"See {self.prog} --help")

    def read(self, words: Sequence[str]) -> dict[str, Any]:
        """Parse options and arguments; those not given are absent or have their declared default."""
        dashed = [_dashed(word) for word in words]
        for word in dashed:
            name = word.partition("=")[0]
            if word.startswith("--") and len(word) > 2 and not self.knows(name):
                similar = self.nearest(name)
                raise InvalidInput(
                    f"{self.prog} has no option `{name}`.{f' Did you mean `{similar}`?' if similar else ''}",
                    f"See {self.prog} --help",
                )
        return vars(self.parse_intermixed_args(dashed))

    def knows(self, name: str) -> bool:
        """Whether this is one of the options, such as `--epochs` or `-o`."""
        return name in self._option_string_actions

    def nearest(self, name: str) -> str | None:
        """The option most similar to a mistyped one; None if none is similar."""
        if not name.startswith("--") or len(name) < 4 or self.knows(name):
            return None
        return next(iter(difflib.get_close_matches(name, self.option_names(), 1, SIMILARITY)), None)

    def option_names(self) -> list[str]:
        return sorted(name for name in self._option_string_actions if name.startswith("--"))

    def choices_of(self, option: str) -> list[str]:
        """The choices of this option; empty if it takes any text."""
        action = self._option_string_actions.get(option)
        return [str(choice) for choice in action.choices] if action is not None and action.choices else []

    def dest_of(self, option: str) -> str | None:
        """The argument that this option sets; None for an unknown option."""
        action = self._option_string_actions.get(option)
        return None if action is None else action.dest

    def takes_value(self, option: str) -> bool:
        action = self._option_string_actions.get(option)
        return action is not None and action.nargs != 0

    def add_output(self) -> None:
        self.add_argument("-o", "--out", metavar="NAME", help="Store the result in this variable.")

    def add_wait(self, text: str) -> None:
        self.add_argument("--wait", action="store_true", help=text)

    def add_value(self, option: str, dest: str, metavar: str, help: str) -> None:
        """An option with one text; absent from the result if it is not given."""
        self.add_argument(option, dest=dest, default=argparse.SUPPRESS, metavar=metavar, help=help)

    def add_field(
        self, option: str, dest: str, field: FieldInfo, *, help: str = "", metavar: str = ""
    ) -> None:
        """An option for a field of a spec; its value stays text, because the spec itself validates it."""
        shape = _shape(field.annotation)
        if metavar and "metavar" in shape:
            shape["metavar"] = metavar
        self.add_argument(
            f"--{option}".replace("_", "-"),
            dest=dest,
            default=argparse.SUPPRESS,
            help=_help(field, help).replace("%", "%%"),
            **shape,
        )


def _dashed(word: str) -> str:
    """`--learning_rate=1` as `--learning-rate=1`; both spellings are accepted."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def _shape(annotation: Any) -> dict[str, Any]:
    """The argparse keywords for a field's type."""
    annotation = without_none(annotation)
    if typing.get_origin(annotation) is Literal:
        return {"choices": typing.get_args(annotation)}
    if annotation is bool:
        return {"action": argparse.BooleanOptionalAction}
    if typing.get_origin(annotation) in (list, dict):
        metavar = "TEXT" if typing.get_origin(annotation) is list else "KEY=VALUE"
        return {"action": "append", "metavar": metavar}
    return {"metavar": {int: "N", float: "X"}.get(annotation, "TEXT")}


def _help(field: FieldInfo, more: str) -> str:
    parts = [field.description or "", more]
    limits = {type(limit).__name__: limit for limit in field.metadata}
    low = next((f"{sign} {getattr(limits[name], key)}" for name, key, sign in _LOW if name in limits), "")
    high = next((f"{sign} {getattr(limits[name], key)}" for name, key, sign in _HIGH if name in limits), "")
    if low or high:
        parts.append(f"({', '.join(filter(None, (low, high)))})")
    if field.default is not None and not field.is_required() and field.default_factory is None:
        parts.append(f"Default: {field.default}.")
    return " ".join(filter(None, parts))


_LOW = (("Ge", "ge", "≥"), ("Gt", "gt", ">"))
_HIGH = (("Le", "le", "≤"), ("Lt", "lt", "<"))
