"""What the registry tells of a model or a dataset, the same in every face."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter.display import safe
from ilab_jupyter.errors import PublicError

Role = Literal["skills", "knowledge", "messages", "train", "test", "other"]


class Entry(BaseModel):
    """Frozen facts read from disk."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def modified(path: Path) -> datetime:
    """When a file or folder was last changed; the beginning of 1970 where the disk does not say."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, ValueError, OverflowError):
        return datetime.fromtimestamp(0, UTC)


def why_damaged(error: Exception) -> str:
    """An error that damaged data caused, as the `problem` of its entry."""
    if isinstance(error, PublicError):
        return safe(error.message)[:1000]
    if isinstance(error, OSError) and error.strerror:
        return safe(f"It cannot be read: {error.strerror}.")
    return f"It cannot be read ({type(error).__name__})."


class ModelEntry(Entry):
    """A model folder that can be trained or served."""

    name: str
    kind: Literal["full", "adapter"]
    path: str
    base: str | None = Field(
        default=None, description="Name or path of the base model, for an adapter or a trained model."
    )
    architecture: str = ""
    parameters: int | None = Field(default=None, description="Read from the safetensors headers.")
    size_bytes: int = 0
    modified_at: datetime
    builtin: bool = Field(default=False, description="Ships with the package; cannot be removed.")
    lineage: dict[str, Any] = Field(
        default_factory=dict, description="base, dataset hashes, spec, seed, library versions, job."
    )
    problem: str = Field(
        default="", description="What is damaged, and cannot be used or read; empty where nothing is."
    )

    @property
    def summary(self) -> str:
        """Its kind, or what is damaged, for a list."""
        if self.problem:
            return f"damaged: {self.problem}"
        return "built in" if self.builtin else self.kind


class Removed(Entry):
    """A model or a dataset that was removed, and the bytes that it had."""

    name: str
    path: str
    size_bytes: int


class DatasetFile(Entry):
    """One JSONL file of a dataset. `role` is what it is for."""

    name: str
    role: Role
    rows: int
    size_bytes: int
    problem: str = Field(default="", description="Why it cannot be read; empty where it can.")


class DatasetEntry(Entry):
    """A dataset: a run's folder, or a single JSONL file, below the datasets folder."""

    name: str
    path: str
    created_at: datetime
    size_bytes: int
    files: list[DatasetFile]
    lineage: dict[str, Any] = Field(
        default_factory=dict, description="teacher, taxonomy hash, pipeline, spec, job."
    )
    problem: str = Field(
        default="", description="What is damaged, and cannot be used or read; empty where nothing is."
    )


class DatasetRow(Entry):
    """One line of a JSONL file. `value` is None where the line cannot be read; `problem` then says why."""

    number: int = Field(description="1 for the first line of the file.")
    value: Any = None
    problem: str = ""


class DatasetRows(Entry):
    """A stretch of one file of a dataset."""

    name: str
    file: str
    offset: int = Field(description="Rows left out before the first one given.")
    total: int
    rows: list[DatasetRow]
