"""A GPU that jobs may have, and which job has it. Plain data, so that the queue turns without pydantic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class Device:
    """A GPU that jobs may have, memory in bytes."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    uuid: str
    name: str = ""
    memory_total: int


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A GPU, or a part of its memory in bytes, that a job has."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    device: str
    job: str
    memory: int | None = None
