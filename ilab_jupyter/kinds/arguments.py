"""The arguments of a new job, resolved on the side where it is queued, with the source of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ilab_jupyter.configuration import resolution
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.record import JobSpec
from ilab_jupyter.kinds.catalog import KINDS, describe
from ilab_jupyter.registry import Datasets
from ilab_jupyter.training import plan
from ilab_jupyter.training.spec import TrainingArguments

NEWEST = "newest dataset"
# The arguments that a training takes from its model's profile or the general default.
_TUNING = (
    "epochs", "batch_size", "learning_rate", "warmup_steps", "max_seq_length", "lora_rank", "lora_alpha",
)  # fmt: skip


def resolve(spec: JobSpec) -> tuple[JobSpec, tuple[str, ...]]:
    """The spec with all its arguments and their sources, and notices for the user.

    `spec.arguments` holds what was given. InvalidInput where a configured value does not fit the others.
    """
    kind = KINDS.get(spec.kind)
    if kind is None:  # of another version; the worker reports it
        return spec, ()
    given = {name: value for name, value in spec.arguments.items() if value is not None}
    found = resolution.resolve(spec.kind, given, resolution.load(spec.kind), kind.spec.model_fields)
    values, sources = dict(found.arguments), dict(found.sources)
    if spec.kind == "train" and not values.get("data"):
        values["data"], sources["data"] = [_newest_dataset()], NEWEST
    try:
        complete = kind.spec.model_validate(values).model_dump(mode="json")
    except ValidationError as error:
        raise InvalidInput(describe(error), f"See the arguments with `%ilab {spec.kind}?`.") from error
    if spec.kind == "train":
        complete |= _tuning(complete)
    resources = spec.resources
    if complete.get("device") == "cpu" and resources.gpus is None:
        resources = resources.model_copy(update={"gpus": 0})
    return spec.model_copy(
        update={"arguments": complete, "sources": sources, "resources": resources}
    ), found.notices


def is_configured(kind: str, name: str) -> bool:
    """Whether config.yaml sets this argument of a kind."""
    return name in resolution.configured(kind, {})


def _newest_dataset() -> str:
    newest = Datasets().newest()
    if newest is None:
        raise InvalidInput(
            "There is no data to train on.", "Generate some with `%ilab generate`, or name a JSONL file."
        )
    return newest.name


def _tuning(complete: Mapping[str, Any]) -> dict[str, Any]:
    """The general defaults of a training; none for a model whose profile is not known yet."""
    if not resolution.is_local(complete["model"]):
        return {}
    own = {name: value for name, value in complete.items() if name in TrainingArguments.model_fields}
    settings = plan.expected_settings(complete["model"], TrainingArguments.model_validate(own))
    return {name: getattr(settings, name) for name in _TUNING if complete.get(name) is None}
