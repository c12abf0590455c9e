"""What a task is given: its validated spec, its folder, and a reporter that writes the job's events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ilab_jupyter.progress import Reporter


class TaskSpec(BaseModel):
    """Arguments of a job kind: frozen, and an unknown name is an error, not silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def title(self) -> str:
        """What a list calls a job that nobody has named: the name of what it makes, where it has one."""
        return str(getattr(self, "name", None) or "")


def short(given: str) -> str:
    """A model or a dataset as a title names it: of a path its last part."""
    return Path(given).name if Path(given).is_absolute() else given


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
