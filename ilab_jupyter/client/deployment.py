"""A served model, as every interface shows it. Light: nothing here connects to one."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter.jobs.record import Job
from ilab_jupyter.jobs.state import JobState


class Deployment(BaseModel):
    """A `serve` job, and whether `ilab/v1` answers for its model now."""

    model_config = ConfigDict(frozen=True)

    id: str
    model: str
    state: JobState
    ready: bool
    created_at: datetime
    message: str = Field(description="What it is doing or waiting for, in words.")
    job: Job = Field(repr=False)
