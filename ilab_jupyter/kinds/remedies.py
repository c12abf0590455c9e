"""What to run after a failure: the command behind `%ilab`, with the job's own arguments where they matter."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ilab_jupyter.configuration.resolution import ARGUMENT
from ilab_jupyter.evaluation.settings import EvaluationSettings, JudgeSettings
from ilab_jupyter.jobs import causes
from ilab_jupyter.kinds.catalog import KINDS
from ilab_jupyter.registry import Datasets, Models
from ilab_jupyter.synthesis.settings import TeacherSettings
from ilab_jupyter.training import plan
from ilab_jupyter.training.failures import smaller
from ilab_jupyter.training.spec import Settings, TrainingArguments

# What each kind takes without an option's name, in this order.
_POSITIONAL = {
    "generate": ("taxonomy_path",),
    "ingest": ("documents",),
    "rag": ("input_dir",),
    "curate": ("operation", "data"),
    "train": ("data",),
    "evaluate": ("benchmark", "model"),
    "model": ("operation", "model"),
    "serve": ("model",),
}
# Arguments with fields of their own: `--teacher` is the address, `--teacher-model` a field.
_SERVICES: dict[str, type[BaseModel]] = {"teacher": TeacherSettings, "judge": JudgeSettings}


def remedy(
    cause: str,
    kind: str,
    arguments: Mapping[str, Any],
    id: str,
    sources: Mapping[str, str] | None = None,
) -> str:
    """The command after `%ilab` for the next step: `resume train-abc`, `train data --seed 2`.

    `arguments` and `sources` are those of the job's spec: the command names only the given arguments. A job
    whose arguments have to change, or that a corrected file has made another one, is submitted again with the
    known changes.
    """
    known = causes.CAUSES.get(cause)
    if known is None or kind not in KINDS:
        return causes.remedy(cause, id)
    changes = _changes(cause, kind, arguments)
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
    words = [kind]
    for name in _POSITIONAL[kind]:
        given = arguments.get(name) or []
        words += map(_word, [given] if isinstance(given, str) else given)
    for name, field in KINDS[kind].spec.model_fields.items():
        value = arguments.get(name)
        if name in _POSITIONAL[kind] or value is None:
            continue
        if name in _SERVICES:
            words += _service(name, value)
        elif name == "documents":
            for url, path in value.items():
                words += _option("document", f"{url}={path}")
        elif name in explicit or value != field.get_default(call_default_factory=True):
            for one in value if isinstance(value, list) else [value]:
                words += _option(name, one)
    return " ".join(words)


def _changes(cause: str, kind: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments that a new job should have instead; None where this cause changes none."""
    if kind == "train":
        if cause in ("out_of_memory", "gpu_out_of_memory"):
            return smaller(_settings(arguments)) or None
        if cause == "nan_loss":
            return {"learning_rate": float(f"{_settings(arguments).learning_rate / 10:g}")}
    if kind == "serve":
        if cause == "gpu_out_of_memory":
            return {"device": "cpu"}
        if cause == "port_taken":
            return {"port": 0}
    if kind == "generate":
        if cause == "teacher_model_missing":
            return {"teacher": {**arguments.get("teacher", {}), "model": None}}
        if cause == "out_of_memory" and int(arguments.get("num_workers", 1)) > 1:
            return {"num_workers": max(int(arguments["num_workers"]) // 2, 1)}
    if kind == "evaluate" and cause in ("out_of_memory", "gpu_out_of_memory"):
        batch = int(arguments.get("batch_size") or EvaluationSettings.model_fields["batch_size"].default)
        if str(arguments["benchmark"]).startswith("mmlu") and batch > 1:
            return {"batch_size": batch // 2}
        if cause == "gpu_out_of_memory":
            return {"device": "cpu"}
    if cause == "conflict" and arguments.get("name"):
        return {"name": free_name(kind, arguments)}
    return None


def free_name(kind: str, arguments: Mapping[str, Any], planned: Collection[str] = ()) -> str:
    """The job's own name where it is free, else the first of `name-2`, `name-3`, ... that is.

    A name is free where neither the registry nor `planned` has it.
    """
    name, output = str(arguments["name"]), arguments.get("output_dir")
    root = None if output is None else Path(str(output))
    registry = Datasets(root) if kind == "generate" else Models(root)
    return registry.free_name(name, planned)


def _settings(arguments: Mapping[str, Any]) -> Settings:
    own = {name: value for name, value in arguments.items() if name in TrainingArguments.model_fields}
    return plan.expected_settings(
        str(arguments.get("model", "starter")), TrainingArguments.model_validate(own)
    )


def _service(name: str, given: Mapping[str, Any]) -> Iterator[str]:
    if given.get("url"):
        yield from _option(name, given["url"])
    for part, value in given.items():
        field = _SERVICES[name].model_fields.get(part)
        if part in ("kind", "url") or field is None or value is None or value == field.default:
            continue
        yield from _option(part if (name, part) == ("teacher", "api_key_env") else f"{name}-{part}", value)


def _option(name: str, value: Any) -> list[str]:
    dashed = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{dashed}" if value else f"--no-{dashed}"]
    text = f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
    # A value that begins with a dash would be read as the next option.
    return [f"--{dashed}={shlex.quote(text)}"] if text.startswith("-") else [f"--{dashed}", shlex.quote(text)]


def _word(text: str) -> str:
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
