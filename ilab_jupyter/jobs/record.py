"""Data models of the job service: spec, state, progress, events, logs, audit."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter.display import TITLE
from ilab_jupyter.jobs.device import Device, Lease
from ilab_jupyter.jobs.state import JobState

NAME = r"^[a-z0-9][a-z0-9._-]{0,127}$"


class Frozen(BaseModel):
    """Immutable data; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Resources(Frozen):
    """Resources that a job needs. None means no particular amount.

    A job with `gpus` gets whole devices; with `gpu_memory_gb` as well it may share each device with others
    that request memory. Gigabytes are 10**9 bytes.
    """

    gpus: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="None: one if the submitter's CUDA_VISIBLE_DEVICES leaves any.",
    )
    gpu_memory_gb: float | None = Field(default=None, gt=0, le=10_000)
    cpus: float | None = Field(default=None, gt=0, le=4096)
    memory_gb: float | None = Field(
        default=None, gt=0, le=100_000, description="Main memory; a job that uses more is stopped."
    )
    disk_gb: float | None = Field(default=None, gt=0, le=1_000_000, description="Free when it starts.")


class JobSpec(Frozen):
    """A job as submitted. `arguments` is the kind's own spec, already validated by `kinds.catalog`."""

    kind: str = Field(pattern=NAME, description="generate, train, serve")
    name: str = Field(default="", max_length=200, pattern=TITLE, description="A title; the kind if empty.")
    arguments: dict[str, Any] = Field(default_factory=dict)
    sources: dict[str, str] = Field(
        default_factory=dict,
        description="Of each argument of a queued job where its value comes from: argument, config.yaml, "
        "model profile, init or newest dataset. An argument without a source has its default.",
    )
    queue: str = Field(default="batch", pattern=NAME, description="Jobs of one queue share its slots.")
    priority: int = Field(
        default=0,
        ge=-100,
        le=100,
        description="Higher starts first; equal priorities start in order of submission.",
    )
    resources: Resources = Resources()


class Progress(Frozen):
    """Current progress of a job: its newest `phase` and `progress` events combined."""

    phase: str = ""
    message: str = ""
    step: int = 0
    total: int | None = None
    eta_seconds: float | None = None
    metrics: dict[str, Any] = Field(default_factory=dict)

    @property
    def fraction(self) -> float | None:
        """Completed part of this phase, 0 to 1; None if the total is unknown."""
        return min(1.0, self.step / self.total) if self.total else None


class Job(Frozen):
    """One job as every interface shows it."""

    id: str
    kind: str
    name: str
    owner: str
    state: JobState
    attempt: int = Field(description="1 for the first; resume adds one.")
    version: int = Field(description="Increases with each change of the row; used for compare-and-swap.")
    spec: JobSpec
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    pending_reason: str | None = Field(default=None, description="Why a QUEUED job waits, as a sentence.")
    position: int | None = Field(default=None, description="Of a QUEUED job: 1 is the next to start.")
    wait_seconds: float | None = Field(
        default=None, description="Of a QUEUED job: estimated seconds until it starts, from past runs."
    )
    devices: list[str] = Field(default_factory=list, description="UUIDs of the GPUs that it has now.")
    progress: Progress = Progress()
    exit_code: int | None = Field(
        default=None, description="Of the worker; negative for a signal, as in subprocess."
    )
    cause: str | None = Field(default=None, description="Typed reason of a final state other than SUCCEEDED.")
    message: str | None = Field(default=None, description="One sentence on the outcome.")
    hint: str | None = Field(default=None, description="What the user can do now.")
    remedy: str | None = Field(
        default=None, description="The same as a command after `%ilab`: `resume train-abc`."
    )
    resumable: bool = Field(default=False, description="Whether another attempt is possible and can help.")
    result: dict[str, Any] = Field(default_factory=dict, description="What the task returned.")
    warnings: list[str] = Field(
        default_factory=list, description="In the response to a submission: what could not be checked."
    )
    omitted: list[str] = Field(
        default_factory=list,
        description="In a list: arguments and results left out because of their size; `get` returns them.",
    )


class JobFilter(Frozen):
    """Filter of the job list; all given conditions must hold."""

    states: tuple[JobState, ...] = ()
    kinds: tuple[str, ...] = ()
    text: str = Field(default="", max_length=200, description="Part of the id or the name.")


EVERY = JobFilter()


class JobPage(Frozen):
    """A page of jobs, newest first; `cursor` requests the next one, None on the last."""

    jobs: list[Job]
    cursor: str | None = None


class Event(BaseModel):
    """A line of events.jsonl: seq (1, 2, ... in a job), time (ISO 8601 UTC), type, and the type's own fields.

    Types written by a worker: phase, progress, artifact, warning, endpoint, result, error. Types generated by
    a stream: state (the row changed), log (a part of it), end (the job has ended).
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    seq: int
    time: datetime
    type: str

    @property
    def fields(self) -> dict[str, Any]:
        """The type's own fields."""
        return dict(self.model_extra or {})


class Attempt(Frozen):
    """One attempt of a job.

    `why`: submitted, resumed, retry, restart (of the server), lost (the attempt before it never started).
    """

    n: int
    state: JobState
    why: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    cause: str | None = None
    message: str | None = None
    log_size: int = Field(default=0, description="Bytes on disk.")
    log_pruned: bool = False


class QueueState(Frozen):
    """State of the queue. `waiting` has the ids of the owner's QUEUED jobs, the next one first."""

    paused: bool = False
    paused_by: str | None = None
    paused_reason: str = ""
    slots: dict[str, int]
    used: dict[str, int]
    devices: list[Device] = Field(default_factory=list)
    leases: list[Lease] = Field(default_factory=list)
    waiting: list[str] = Field(default_factory=list)


class LogMatch(Frozen):
    """A matching line: its offset in bytes, and its text (masked; at most 2,000 characters)."""

    attempt: int
    offset: int
    text: str


class LogMatches(Frozen):
    """Matches in order. If `complete` is False, continue at `next_offset`."""

    matches: list[LogMatch]
    attempt: int
    next_offset: int
    complete: bool


class Pruned(Frozen):
    """What was pruned, or would be: logs of ended attempts, and their bytes."""

    attempts: int
    bytes: int


class RemovedJob(Frozen):
    """A removed job, and the bytes of its folder."""

    id: str
    bytes: int


class AuditEntry(Frozen):
    """One action on a job or on the queue."""

    seq: int
    time: datetime
    actor: str
    action: str
    target: str
    detail: dict[str, Any] = Field(default_factory=dict)


class LogChunk(Frozen):
    """Bytes [offset, next_offset) of an attempt's log, split between characters. `ended`: the log is
    complete."""

    attempt: int
    offset: int
    next_offset: int
    size: int
    text: str
    ended: bool
