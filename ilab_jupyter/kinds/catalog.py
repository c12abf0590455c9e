"""Which kinds of job there are: name -> spec, queue and the function that does the work."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ilab_jupyter.configuration import resolution
from ilab_jupyter.display import safe
from ilab_jupyter.errors import InvalidInput, wrong_field
from ilab_jupyter.jobs.record import JobSpec, Resources
from ilab_jupyter.kinds import curate, evaluate, generate, ingest, model, rag, serve, train
from ilab_jupyter.kinds.context import Context, TaskSpec

_ANY = Resources()
_NO_GPU = Resources(gpus=0)


@dataclass(frozen=True)
class Kind:
    """One kind of job. `resources` is what it asks for where nobody says more: a GPU where there is any."""

    name: str
    spec: type[TaskSpec]
    run: Callable[[Any, Context], dict[str, Any]]
    queue: str
    resources: Resources = _ANY


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("generate", generate.GenerateSpec, generate.run, "batch", _NO_GPU),
        Kind("curate", curate.CurateSpec, curate.run, "batch", _NO_GPU),
        Kind("ingest", ingest.IngestSpec, ingest.run, "batch", _NO_GPU),
        Kind("rag", rag.RagSpec, rag.run, "batch", _NO_GPU),
        Kind("train", train.TrainSpec, train.run, "batch"),
        Kind("evaluate", evaluate.EvaluateSpec, evaluate.run, "batch"),
        Kind("model", model.ModelSpec, model.run, "batch", _NO_GPU),
        Kind("serve", serve.ServeSpec, serve.run, "serving"),
    )
}


def job_spec(
    kind: str,
    arguments: Mapping[str, Any],
    *,
    name: str = "",
    priority: int = 0,
    resources: Resources | Mapping[str, Any] | None = None,
    strict: bool = False,
) -> JobSpec:
    """The JobSpec of a request; InvalidInput names the field that is wrong.

    With `strict` no text is taken for a number. A job whose `device` is `cpu` asks for no GPU.
    """
    try:
        known = KINDS[kind]
    except KeyError:
        raise InvalidInput(f"There is no job kind {kind!r}.", f"Choose one of: {', '.join(KINDS)}.") from None
    # What these kinds need may come from config.yaml.
    configured = resolution.configured(kind, arguments) if kind in ("generate", "evaluate") else {}
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


def _resources(kind: Kind, arguments: TaskSpec, asked: Resources) -> Resources:
    default = _NO_GPU if getattr(arguments, "device", "") == "cpu" else kind.resources
    given = asked.model_dump(exclude_none=True)
    return Resources.model_validate({**default.model_dump(exclude_none=True), **given})


def describe(error: ValidationError) -> str:
    """One sentence on what a person has to change: `learning_rate: Input should be greater than 0`."""
    return "; ".join(wrong_field(detail) for detail in error.errors()[:5]) + "."
