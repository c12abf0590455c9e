"""The job kinds by name, and the job spec of a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ilab_jupyter.configuration import resolution
from ilab_jupyter.display import safe
from ilab_jupyter.errors import InvalidInput, wrong_field
from ilab_jupyter.jobs.record import JobSpec, Resources
from ilab_jupyter.kinds import curate, evaluate, generate, ingest, model, rag, serve, train
from ilab_jupyter.kinds.context import TaskSpec
from ilab_jupyter.kinds.kind import NO_GPU, Kind

__all__ = ["KINDS", "Kind", "describe", "job_spec", "makers"]

# In the order of lists and help.
KINDS: dict[str, Kind] = {
    module.KIND.name: module.KIND for module in (generate, ingest, rag, curate, train, evaluate, model, serve)
}


def makers(product: str) -> tuple[str, ...]:
    """The names of the kinds that make a `model` or a `dataset`."""
    return tuple(kind.name for kind in KINDS.values() if kind.makes == product)


def job_spec(
    kind: str,
    arguments: Mapping[str, Any],
    *,
    name: str = "",
    priority: int = 0,
    resources: Resources | Mapping[str, Any] | None = None,
    strict: bool = False,
) -> JobSpec:
    """Validate a request and return its JobSpec; InvalidInput names the wrong field.

    With `strict`, text is not converted to numbers. A job whose `device` is `cpu` requests no GPU.
    """
    try:
        known = KINDS[kind]
    except KeyError:
        raise InvalidInput(f"There is no job kind {kind!r}.", f"Choose one of: {', '.join(KINDS)}.") from None
    # A required argument may come from config.yaml.
    configured = resolution.configured(kind, arguments)
    complete = {**configured, **arguments}
    try:
        if strict:
            checked = known.spec.model_validate_json(json.dumps(complete), strict=True)
        else:
            checked = known.spec.model_validate(complete)
        fields = checked.model_fields_set - (configured.keys() - arguments.keys())
        return JobSpec(
            kind=kind,
            name=name or safe(checked.title)[:200],
            # What was given, and nothing else: the rest is resolved where the job is queued.
            arguments=checked.model_dump(mode="json", include=fields),
            queue=known.queue,
            priority=priority,
            resources=_resources(known, checked, Resources.model_validate(resources or {})),
        )
    except ValidationError as error:
        # The cause lets an interface name the fields as its users write them.
        raise InvalidInput(describe(error), f"See the arguments with `%ilab {kind}?`.") from error


def _resources(kind: Kind, arguments: TaskSpec, requested: Resources) -> Resources:
    default = NO_GPU if getattr(arguments, "device", "") == "cpu" else kind.resources
    given = requested.model_dump(exclude_none=True)
    return Resources.model_validate({**default.model_dump(exclude_none=True), **given})


def describe(error: ValidationError) -> str:
    """The wrong fields as one sentence: `learning_rate: Input should be greater than 0.`"""
    return "; ".join(wrong_field(detail) for detail in error.errors()[:5]) + "."
