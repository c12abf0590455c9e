"""The input of a job kind: its validated spec, its folder, and a reporter for the job's events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ilab_jupyter.progress import Reporter


class TaskSpec(BaseModel):
    """Arguments of a job kind. Frozen; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def title(self) -> str:
        """The job's default name: the name of what it makes, if it has one."""
        return str(getattr(self, "name", None) or "")


def short(given: str) -> str:
    """A model or dataset for a title: the last part of an absolute path."""
    return Path(given).name if Path(given).is_absolute() else given


@dataclass(frozen=True)
class Context:
    """The attempt that runs. The folder `artifacts` is shared by all attempts of the job."""

    job_id: str
    attempt: int
    folder: Path
    reporter: Reporter

    @property
    def artifacts(self) -> Path:
        """The folder for the job's files."""
        return self.folder / "artifacts"
