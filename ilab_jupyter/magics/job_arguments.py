"""Job kinds on the command line: the parser of a kind, and the arguments of the job that a line describes."""

from __future__ import annotations

import contextlib
import os
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from ilab_jupyter.errors import InvalidInput, wrong_field
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.kinds.arguments import is_configured
from ilab_jupyter.kinds.kind import Argument, Kind, Service
from ilab_jupyter.magics import resolve
from ilab_jupyter.magics.arguments import Parser


@dataclass(frozen=True)
class Prepared:
    """A job before its submission. `notes` are for the user, once it is queued."""

    arguments: dict[str, Any]
    secrets: dict[str, str]
    notes: tuple[str, ...] = ()


def add_arguments(parser: Parser, kind: Kind) -> None:
    """Declare the arguments of a kind: the positional ones, then one option for each other field."""
    for argument in kind.positional:
        parser.add_argument(
            argument.name,
            nargs="*" if typing.get_origin(kind.field_type(argument.name)) is list else "?",
            metavar=argument.metavar,
            help=_positional_help(kind, argument).replace("%", "%%"),
        )
    for name, field in kind.spec.model_fields.items():
        argument = kind.argument(name)
        if argument.service is not None:
            parser.add_value(f"--{name}", name, argument.metavar, argument.help)
            _add_service(parser, kind, argument, argument.service)
        elif not argument.positional:
            parser.add_field(
                argument.option or name, name, field, help=argument.help, metavar=argument.metavar
            )
    parser.add_wait("Wait for the end." if kind.ready_event is None else "Wait until it is ready.")
    if kind.examples:
        parser.epilog = "\n".join(("examples:", *(f"  %ilab {example}" for example in kind.examples)))


def _add_service(parser: Parser, kind: Kind, argument: Argument, service: Service) -> None:
    for name, field in service.settings.model_fields.items():
        if name not in service.hidden:
            is_secret = f"{argument.name}.{name}" in kind.secrets
            parser.add_field(
                argument.field_option(name).removeprefix("--"),
                f"{argument.name}.{name}",
                field,
                help=f"Environment variable with the {argument.name}'s key; the key itself is never stored."
                if is_secret
                else "",
            )


def _positional_help(kind: Kind, argument: Argument) -> str:
    field = kind.spec.model_fields[argument.name]
    if choices := kind.choices(argument.name):
        return " ".join(filter(None, (f"One of {', '.join(choices)}.", argument.help)))
    return " ".join(filter(None, (field.description, argument.help)))


def prepare(kind: Kind, options: Mapping[str, Any], cell: str | None, jobs: SyncJobs) -> Prepared:
    """The arguments, resolved, with the secrets and notes of the job that a line and a cell describe.

    An option on the line overrides the cell. Raises PublicError where a value cannot be resolved.
    """
    arguments = merge(kind, structure(kind, body(cell)), structure(kind, options))
    notes = []
    for argument in kind.positional:
        if arguments.get(argument.name) in (None, []):
            arguments.pop(argument.name, None)
            if is_configured(kind.name, argument.name):
                continue
            if argument.fallback is not None:
                value, note = resolve.fallback(jobs, argument.fallback)
                arguments[argument.name] = _value(kind, argument, value)
                notes.append(note)
            elif kind.is_required(argument):
                raise _missing(kind, argument)
    for argument in kind.arguments:
        if arguments.get(argument.name) is not None:
            arguments[argument.name] = _resolved(kind, argument, arguments[argument.name], jobs)
    if kind.notice is not None:
        notes.append(kind.notice(arguments))
    return Prepared(arguments, _secrets(kind, arguments), tuple(filter(None, notes)))


def structure(kind: Kind, flat: Mapping[str, Any]) -> dict[str, Any]:
    """Options by name as arguments of the spec: `teacher.model` becomes a field of `teacher`.

    The short form of a service becomes its fields, `URL=PATH` texts become a mapping, and positional
    arguments that are not given are left out.
    """
    found: dict[str, Any] = {}
    for name, given in flat.items():
        outer, _, inner = name.partition(".")
        argument = kind.argument(outer)
        value = given if inner else _value(kind, argument, given)
        if argument.positional and value in (None, []):
            continue
        if inner or (argument.service is not None and isinstance(value, dict)):
            before = found.get(outer)
            fields = {inner: value} if inner else value
            found[outer] = {**before, **fields} if isinstance(before, dict) else fields
        else:
            found[outer] = value
    return found


def _value(kind: Kind, argument: Argument, given: Any) -> Any:
    if argument.service is not None:
        return argument.service.parse(given)
    if argument.name not in kind.spec.model_fields:
        return given  # the spec rejects it
    origin = typing.get_origin(kind.field_type(argument.name))
    if origin is dict and isinstance(given, list):
        return dict(_pair(text, argument) for text in given)
    if origin is list and isinstance(given, str):
        return [given]
    return given


def _pair(text: Any, argument: Argument) -> tuple[str, str]:
    key, equals, value = str(text).rpartition("=")
    if not (key and equals and value):
        shape = argument.metavar or "KEY=VALUE"
        raise InvalidInput(
            f"{text!r} is not {shape}.", f"Write `--{argument.option or argument.name} {shape}`."
        )
    return key, value


def merge(kind: Kind, base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings, `over` first; the fields of a service are merged one by one."""
    both = {**base, **over}
    for argument in kind.arguments:
        name = argument.name
        if argument.service and isinstance(base.get(name), dict) and isinstance(over.get(name), dict):
            both[name] = {**base[name], **over[name]}
    return both


def _missing(kind: Kind, argument: Argument) -> InvalidInput:
    noun = argument.noun or argument.name.replace("_", " ")
    article = "an" if noun[0] in "aeiou" else "a"
    lists = {"model": "models", "dataset": "data"}
    return InvalidInput(
        f"%ilab {kind.name} needs {article} {noun}.",
        f"See `%ilab {lists.get(argument.resolve, f'{kind.name}?')}`.",
    )


def _resolved(kind: Kind, argument: Argument, value: Any, jobs: SyncJobs) -> Any:
    service = argument.service
    if service is None:
        return resolve.value(jobs, argument.resolve, value, argument.noun or argument.name.replace("_", " "))
    if service.local_model and isinstance(value, dict) and value.get("model") and not value.get("url"):
        return {**value, "model": resolve.model(jobs, str(value["model"]))}
    return value


def _secrets(kind: Kind, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Values from the kernel's environment for the worker; InvalidInput if a chosen variable is not set."""
    found = {}
    for secret in kind.secrets:
        outer, _, inner = secret.partition(".")
        chosen, variable = None, secret
        if inner:
            service = kind.argument(outer).service
            assert service is not None, f"{secret} is not a field of a service"
            given = arguments.get(outer)
            chosen = given.get(inner) if isinstance(given, dict) else None
            variable = str(chosen or service.settings.model_fields[inner].default)
        if os.environ.get(variable):
            found[variable] = os.environ[variable]
        elif chosen:
            raise InvalidInput(
                f"The environment variable {variable} is not set in this kernel.",
                f"Set it before: import os, getpass; os.environ[{variable!r}] = getpass.getpass()",
            )
    return found


def body(text: str | None) -> dict[str, Any]:
    """The YAML mapping below `%%ilab train`; empty for a line magic."""
    if text is None:
        return {}
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        position = f" at line {mark.line + 2} of the cell" if mark else ""
        raise InvalidInput(
            f"The cell is not YAML{position}.", "Write one `name: value` on each line."
        ) from None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise InvalidInput("The cell is not a list of arguments.", "Write one `name: value` on each line.")
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
    type = str(detail["type"])
    if bound := _BOUNDS.get(type):
        key, words = bound
        return f"{option} must be {words} {context[key]:.12g} (got {given})"
    if type in ("float_parsing", "float_type", "int_parsing", "int_type", "int_from_float"):
        what = "a number" if type.startswith("float") else "a whole number"
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
