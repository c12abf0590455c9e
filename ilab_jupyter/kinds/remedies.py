"""The command to run after a failure, as the text behind `%ilab`, with the arguments of the failed job."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ilab_jupyter.configuration.resolution import ARGUMENT
from ilab_jupyter.jobs import causes
from ilab_jupyter.kinds.catalog import KINDS, Kind
from ilab_jupyter.kinds.kind import Argument, Service
from ilab_jupyter.registry import Datasets, Models


def remedy(
    cause: str,
    kind: str,
    arguments: Mapping[str, Any],
    id: str,
    sources: Mapping[str, str] | None = None,
) -> str:
    """The command after `%ilab` for the next step: `resume train-abc`, `train data --seed 2`.

    `arguments` and `sources` are those of the job's spec: the command names only the given arguments. Where
    they have to change, or where a corrected input file makes it another job, the command submits a new job
    with the known changes applied.
    """
    known, declared = causes.CAUSES.get(cause), KINDS.get(kind)
    if known is None or declared is None:
        return causes.remedy(cause, id)
    changes = _changes(cause, declared, arguments)
    if changes is None and (known.resumable_helps or known.remedy):
        return known.command(id)
    given = {name: value for name, value in arguments.items() if not sources or sources.get(name) == ARGUMENT}
    wanted = {**given, **(changes or {})}
    # A default that is not written would come from config.yaml again.
    written = command(kind, wanted, explicit=wanted if sources else ())
    # A line magic is one line.
    return written if written.isprintable() else known.command(id)


def command(kind: str, arguments: Mapping[str, Any], explicit: Collection[str] = ()) -> str:
    """A job's arguments as the magic takes them; defaults are left out unless they are `explicit`."""
    declared = KINDS[kind]
    words = [kind]
    for positional in declared.positional:
        given = arguments.get(positional.name) or []
        words += map(_quoted, [given] if isinstance(given, str) else given)
    for name, field in declared.spec.model_fields.items():
        value, argument = arguments.get(name), declared.argument(name)
        if argument.positional or value is None:
            continue
        if argument.service is not None:
            words += _service(argument, argument.service, value)
        elif name in explicit or value != field.get_default(call_default_factory=True):
            option = f"--{argument.option or name}"
            pairs = [f"{key}={one}" for key, one in value.items()] if isinstance(value, dict) else value
            for one in pairs if isinstance(pairs, list) else [pairs]:
                words += _option(option, one)
    return " ".join(words)


def _changes(cause: str, kind: Kind, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments that a new job should have instead; None where this cause changes none."""
    changed = kind.changes(cause, arguments) if kind.changes is not None else None
    if changed is None and cause == "conflict" and arguments.get("name"):
        return {"name": free_name(kind.name, arguments)}
    return changed


def free_name(kind: str, arguments: Mapping[str, Any], planned: Collection[str] = ()) -> str:
    """The job's `name` if it is free, else the first free one of `name-2`, `name-3`, ...

    A name is free where neither the registry nor `planned` has it.
    """
    name, output = str(arguments["name"]), arguments.get("output_dir")
    root = None if output is None else Path(str(output))
    registry = Datasets(root) if KINDS[kind].makes == "dataset" else Models(root)
    return registry.free_name(name, planned)


def _service(argument: Argument, service: Service, given: Mapping[str, Any]) -> Iterator[str]:
    if given.get("url"):
        yield from _option(f"--{argument.name}", given["url"])
    for name, value in given.items():
        field = service.settings.model_fields.get(name)
        if name in service.hidden or field is None or value is None or value == field.default:
            continue
        yield from _option(argument.field_option(name), value)


def _option(option: str, value: Any) -> list[str]:
    dashed = option.replace("_", "-")
    if isinstance(value, bool):
        return [dashed if value else f"--no-{dashed.removeprefix('--')}"]
    text = f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
    # A value that begins with a dash would be read as the next option.
    return [f"{dashed}={shlex.quote(text)}"] if text.startswith("-") else [dashed, shlex.quote(text)]


def _quoted(text: str) -> str:
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
