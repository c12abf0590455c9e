"""What a task is given: its validated spec, its folder, and a reporter that writes the job's events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ilab_jupyter.progress import Reporter


class TaskSpec(BaseModel):
    """Arguments of a job kind: frozen, and an unknown name is an error, not silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Context:
    """Where a task works. `artifacts` outlives attempts: a second attempt finds what the first one left."""

    job_id: str
    attempt: int
    folder: Path
    reporter: Reporter

    @property
    def artifacts(self) -> Path:
        """The job's own files."""
        return self.folder / "artifacts"
