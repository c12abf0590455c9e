"""GPUs that jobs may use and their leases. Plain data, so that the scheduler needs no pydantic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class Device:
    """A GPU that jobs may use, memory in bytes."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    uuid: str
    name: str = ""
    memory_total: int


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A GPU, or a part of its memory in bytes, that a job holds."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    device: str
    job: str
    memory: int | None = None
