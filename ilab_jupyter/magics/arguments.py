"""Options of the commands, taken from the job kinds' own specs, so that each is declared once."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NoReturn, cast

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ilab_jupyter.errors import InvalidInput, wrong_field
from ilab_jupyter.kinds.evaluate import JudgeSettings, short_judge
from ilab_jupyter.kinds.generate import GenerateSpec

TEACHER = cast(type[BaseModel], GenerateSpec.model_fields["teacher"].annotation)


# How alike a mistyped word and a known one must be; 1 is equal.
NEAR = 0.7


class Parser(argparse.ArgumentParser):
    """Raises InvalidInput where argparse would end the process; help is asked for by the caller."""

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
        """Options and arguments by name; those not given are absent, or have the default declared here."""
        dashed = [_dashed(word) for word in words]
        for word in dashed:
            name = word.partition("=")[0]
            if word.startswith("--") and len(word) > 2 and not self.knows(name):
                near = self.nearest(name)
                raise InvalidInput(
                    f"{self.prog} has no option `{name}`.{f' Did you mean `{near}`?' if near else ''}",
                    f"See {self.prog} --help",
                )
        return vars(self.parse_intermixed_args(dashed))

    def knows(self, name: str) -> bool:
        """Whether this is one of the options, such as `--epochs` or `-o`."""
        return name in self._option_string_actions

    def nearest(self, name: str) -> str | None:
        """The option that a mistyped `--option` most likely means; None where none is near."""
        if not name.startswith("--") or len(name) < 4 or self.knows(name):
            return None
        return next(iter(difflib.get_close_matches(name, self.option_names(), 1, NEAR)), None)

    def option_names(self) -> list[str]:
        return sorted(name for name in self._option_string_actions if name.startswith("--"))

    def choices_of(self, option: str) -> list[str]:
        """Values to choose from after this option; empty where anything goes."""
        action = self._option_string_actions.get(option)
        return [str(choice) for choice in action.choices] if action is not None and action.choices else []

    def takes_value(self, option: str) -> bool:
        action = self._option_string_actions.get(option)
        return action is not None and action.nargs != 0

    def add_output(self) -> None:
        self.add_argument("-o", "--out", metavar="NAME", help="Store the result in this variable.")

    def add_wait(self, text: str) -> None:
        self.add_argument("--wait", action="store_true", help=text)

    def add_fields(self, spec: type[BaseModel], *, without: Sequence[str] = (), prefix: str = "") -> None:
        """An option for each field of the spec; values stay text, because the spec itself checks them."""
        for name, field in spec.model_fields.items():
            if name not in without:
                self.add_argument(
                    f"--{prefix}{name}".replace("_", "-"),
                    dest=f"{prefix}{name}".replace("-", "."),
                    default=argparse.SUPPRESS,
                    help=_help(field).replace("%", "%%"),
                    **_kind(field.annotation),
                )

    def add_teacher(self) -> None:
        """`--teacher embedded` or a URL, and the other fields of the teacher under their own names."""
        self.add_argument(
            "--teacher",
            default=argparse.SUPPRESS,
            metavar="URL",
            help="`embedded`, or the base URL of an OpenAI-compatible API. Default: embedded.",
        )
        self.add_fields(TEACHER, without=("kind", "url", "api_key_env"), prefix="teacher-")
        self.add_argument(
            "--api-key-env",
            dest="teacher.api_key_env",
            default=argparse.SUPPRESS,
            metavar="NAME",
            help="Environment variable that holds the teacher's key; the key itself is never stored. "
            f"Default: {TEACHER.model_fields['api_key_env'].default}.",
        )

    def add_judge(self) -> None:
        """`--judge` with a URL or a model, and the judge's other fields under their own names."""
        self.add_argument(
            "--judge",
            default=argparse.SUPPRESS,
            metavar="URL or MODEL",
            help="Base URL of an OpenAI-compatible API, or a local model that is served for that time.",
        )
        self.add_fields(JudgeSettings, without=("url",), prefix="judge-")


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`{"teacher.model": x}` as `{"teacher": {"model": x}}`; a teacher or judge of one word becomes its
    fields.
    """
    found: dict[str, Any] = {}
    for name, value in flat.items():
        outer, _, inner = name.partition(".")
        if not inner and outer in _OF_ONE_WORD:
            value = _OF_ONE_WORD[outer](value)
        if inner or isinstance(value, dict):
            found[outer] = {**found.get(outer, {}), **({inner: value} if inner else value)}
        else:
            found[outer] = value
    return found


@contextlib.contextmanager
def as_options() -> Iterator[None]:
    """Name wrong arguments of a job as options of the command: `--learning-rate` must be a number."""
    try:
        yield
    except InvalidInput as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        wrong = [_wrong_option(detail) for detail in error.__cause__.errors()[:5]]
        raise InvalidInput(f"{'; '.join(wrong)}.", error.hint) from None


def _wrong_option(detail: Mapping[str, Any]) -> str:
    """One detail of a ValidationError: `--epochs` must be greater than 0 (got 0)."""
    context, given = detail.get("ctx", {}), detail.get("input")
    name = "-".join(part for part in map(str, detail["loc"]) if part.isidentifier() and part not in _TYPES)
    option = f"`--{name.replace('_', '-')}`"
    kind = str(detail["type"])
    if bound := _BOUNDS.get(kind):
        key, words = bound
        return f"{option} must be {words} {context[key]:.12g} (got {given})"
    if kind in ("float_parsing", "float_type", "int_parsing", "int_type", "int_from_float"):
        what = "a number" if kind.startswith("float") else "a whole number"
        example = f" such as {_EXAMPLES[name]}" if name in _EXAMPLES else ""
        return f"{option} must be {what}{example}, not {given!r}"
    return wrong_field(detail)


_TYPES = frozenset({"str", "int", "float", "bool"})
_EXAMPLES = {"learning_rate": "2e-5", "epochs": "3", "batch_size": "8", "max_steps": "100"}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def body(text: str | None) -> dict[str, Any]:
    """The YAML mapping below `%%ilab train`; empty for a line magic."""
    if text is None:
        return {}
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 2} of the cell" if mark else ""
        raise InvalidInput(f"The cell is not YAML{place}.", "Write one `name: value` on each line.") from None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise InvalidInput("The cell is not a list of arguments.", "Write one `name: value` on each line.")
    return nested(found)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` wins; the fields of a teacher or judge are merged one by one."""
    both = {**base, **over}
    for name in _OF_ONE_WORD:
        if isinstance(base.get(name), dict) and isinstance(over.get(name), dict):
            both[name] = {**base[name], **over[name]}
    return both


def _teacher(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value == "embedded":
        return {"kind": "embedded"}
    if value.startswith(("http://", "https://")):
        return {"kind": "openai", "url": value}
    raise InvalidInput(f"There is no teacher {value!r}.", "Give `embedded`, or a URL that begins with http.")


_OF_ONE_WORD: dict[str, Callable[[Any], Any]] = {"teacher": _teacher, "judge": short_judge}


def _dashed(word: str) -> str:
    """`--learning_rate=1` as `--learning-rate=1`, since both are how people write it."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def _kind(annotation: Any) -> dict[str, Any]:
    """What argparse must know of a field's type."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        annotation = next(kind for kind in typing.get_args(annotation) if kind is not type(None))
    if typing.get_origin(annotation) is Literal:
        return {"choices": typing.get_args(annotation)}
    if annotation is bool:
        return {"action": argparse.BooleanOptionalAction}
    if typing.get_origin(annotation) is list:
        return {"action": "append", "metavar": "TEXT"}
    return {"metavar": {int: "N", float: "X"}.get(annotation, "TEXT")}


def _help(field: FieldInfo) -> str:
    parts = [field.description or ""]
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
