"""The `serve` job: a model behind an OpenAI-compatible API on loopback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from ilab_jupyter.jobs.record import NAME
from ilab_jupyter.kinds.context import Context, TaskSpec
from ilab_jupyter.kinds.kind import Argument, Kind


class ServeSpec(TaskSpec):
    """Arguments of `serve`."""

    model: str = Field(
        min_length=1,
        max_length=4096,
        description="Registry name, model or adapter folder, or hub id (safetensors only).",
    )
    name: str | None = Field(default=None, pattern=NAME, description="Name under which `ilab/v1` offers it.")
    port: int = Field(default=0, ge=0, le=65535, description="Loopback port; 0 takes a free one.")
    max_tokens: int = Field(default=4096, ge=1, le=1_048_576, description="Upper bound of one answer.")
    idle_seconds: float = Field(
        default=60,
        ge=0,
        le=86_400,
        description="Seconds without a request before it may be stopped for a waiting job.",
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"


def run(spec: ServeSpec, context: Context) -> dict[str, Any]:
    """Serve until a stop is requested."""
    from ilab_jupyter.core import Model

    Model(student_model=spec.model).serve(
        name=spec.name,
        port=spec.port,
        max_tokens=spec.max_tokens,
        device=spec.device,
        idle_seconds=spec.idle_seconds,
        release_file=context.folder / "release.json",
        endpoint_file=context.folder / "endpoint.json",
        reporter=context.reporter,
    )
    return {}


def changes(cause: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """See `Kind.changes`."""
    known: dict[str, dict[str, Any]] = {"gpu_out_of_memory": {"device": "cpu"}, "port_taken": {"port": 0}}
    return known.get(cause)


KIND = Kind(
    name="serve",
    spec=ServeSpec,
    run=run,
    title="Deployment",
    summary="Serve a model behind the OpenAI-compatible API ilab/v1.",
    arguments=(
        Argument("model", "model", metavar="MODEL", positional=True, help="Or the job that made it."),
    ),
    queue="serving",
    examples=("serve my-model --wait",),
    ready_event="endpoint",
    changes=changes,
)
