"""Requests, queries and responses of the native API, other than jobs and registry entries."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter.client.deployment import Deployment
from ilab_jupyter.client.problem import Problem as Problem
from ilab_jupyter.display import TITLE
from ilab_jupyter.jobs.record import Attempt, AuditEntry, Event, JobFilter, Resources
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.registry.entries import DatasetEntry, ModelEntry
from ilab_jupyter.taxonomy.finding import Finding


class Request(BaseModel):
    """Base of request bodies; unknown fields are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(BaseModel):
    """Base of response bodies."""

    model_config = ConfigDict(frozen=True)


class Info(Answer):
    """Name and version of the server. A client needs the same `api`."""

    name: str = "ilab-jupyter"
    version: str
    api: int = 1


class Check(Answer):
    """Result of one check."""

    name: str
    ok: bool
    message: str
    hint: str = ""


class Health(Answer):
    """`ok`, `degraded` (it works with a problem), or `failing`, which is answered with 503.

    `code`, `message` and `hint` are those of the worst check, named as in `Problem`.
    """

    status: Literal["ok", "degraded", "failing"]
    live: int = Field(description="Jobs that are queued or running, of all owners.")
    checks: list[Check]
    code: str = ""
    message: str = ""
    hint: str = ""


class KindEntry(Answer):
    """A kind of job and the JSON Schema of its arguments."""

    name: str
    title: str
    summary: str
    queue: str
    positional: list[str] = Field(description="Arguments that `%ilab` takes without an option.")
    examples: list[str]
    arguments: dict[str, Any]


class KindList(Answer):
    """All kinds."""

    kinds: list[KindEntry]


class Submit(Request):
    """A job to run."""

    kind: str = Field(min_length=1, max_length=128, description="See ilab/api/kinds.")
    arguments: dict[str, Any] = Field(default_factory=dict)
    name: str = Field(default="", max_length=200, pattern=TITLE)
    priority: int = Field(default=0, ge=-100, le=100)
    resources: Resources = Field(
        default=Resources(),
        description="Resources that the job needs; a field left out takes the kind's own.",
    )
    key: str | None = Field(
        default=None, min_length=1, max_length=255,
        description="The same key gives the same job again; the header Idempotency-Key does the same.",
    )  # fmt: skip
    secrets: dict[str, str] | None = Field(
        default=None,
        max_length=16,
        description="Environment variables of the worker; never stored in the job.",
    )


class JobQuery(Request):
    """Which jobs to list. `state` and `kind` may be given more than once, or separated by commas."""

    state: tuple[JobState, ...] = ()
    kind: tuple[str, ...] = ()
    text: str = Field(default="", max_length=200)
    cursor: str | None = Field(default=None, max_length=1000)
    limit: int = Field(default=50, ge=1, le=500)

    @property
    def filter(self) -> JobFilter:
        """The filter for the job service."""
        return JobFilter(states=self.state, kinds=self.kind, text=self.text)


class LogQuery(Request):
    """Where to read a log. A negative `offset` counts from the end."""

    offset: int = Field(default=0, ge=-(2**62), le=2**62)
    limit: int = Field(default=65536, ge=1, le=16 * 1024 * 1024)
    attempt: int | None = Field(default=None, ge=1, le=2**31)
    download: bool | None = Field(default=None, description="The whole log as a file.")
    fold: bool | None = Field(
        default=None, description="Without what carriage returns overwrote, as a terminal would show it."
    )


class EventQuery(Request):
    """Where to read events: those after seq `after`.

    With `log_offset` a stream carries the log too: of the attempt `log_attempt` from there on, and of later
    ones.
    """

    after: int = Field(default=0, ge=0, le=2**62)
    limit: int = Field(default=1000, ge=1, le=100_000)
    log_offset: int | None = Field(default=None, ge=-(2**62), le=2**62)
    log_attempt: int | None = Field(default=None, ge=1, le=2**31)


class EventList(Answer):
    """Events, oldest first."""

    events: list[Event]


class Pause(Request):
    """Reason of the pause, shown to all users."""

    reason: str = Field(default="", max_length=500, pattern=TITLE)


class Move(Request):
    """Where a waiting job goes: before the job of this id, before all of its priority where None."""

    before: str | None = Field(default=None, max_length=200)


class SearchQuery(Request):
    """What to look for in a log. `offset` in bytes; go on from `next_offset`."""

    pattern: str = Field(min_length=1, max_length=1000)
    regex: bool = False
    offset: int = Field(default=0, ge=0, le=2**62)
    limit: int = Field(default=100, ge=1, le=1000)
    attempt: int | None = Field(default=None, ge=1, le=2**31)


class Prune(Request):
    """Which logs to remove: of attempts that ended over `days` ago, then the oldest over `keep_bytes`."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"type": kind}}}
                for name, kind in (("days", "number"), ("keep_bytes", "integer"))
            ]
        }
    )

    days: float | None = Field(default=None, ge=0, le=100_000, allow_inf_nan=False)
    keep_bytes: int | None = Field(default=None, ge=0, le=2**62)
    dry_run: bool = Field(default=False, description="Only list what would be removed.")


class AuditQuery(Request):
    """Which entries: those behind the entry `after`."""

    after: int = Field(default=0, ge=0, le=2**62)
    limit: int = Field(default=100, ge=1, le=1000)


class AttemptList(Answer):
    """A job's attempts, the first one first."""

    attempts: list[Attempt]


class AuditList(Answer):
    """Entries of the audit, oldest first."""

    entries: list[AuditEntry]


class RowsQuery(Request):
    """Which rows of which file of a dataset; its first file where none is named."""

    file: str | None = Field(default=None, max_length=255)
    offset: int = Field(default=0, ge=0, le=2**62)
    limit: int = Field(default=20, ge=1, le=500)


class ModelList(Answer):
    """All models on disk."""

    models: list[ModelEntry]


class DatasetList(Answer):
    """All datasets on disk."""

    datasets: list[DatasetEntry]


class DeploymentList(Answer):
    """The models that are served, or about to be."""

    deployments: list[Deployment]


class ConfigView(Answer):
    """InstructLab's config.yaml."""

    path: str
    values: dict[str, Any] = Field(description="All sections, defaults included.")
    text: str = Field(description="The file, comments included.")
    unused: dict[str, str] = Field(description="Keys that are set but have no effect, with the reason.")


class ConfigChange(Request):
    """New value of one key."""

    key: str = Field(min_length=1, max_length=200, description="Dotted, such as train.num_epochs.")
    value: Any


class ProfileEntry(Answer):
    """Values for a kind of machine, by dotted key."""

    name: str
    summary: str
    values: dict[str, Any]


class ProfileList(Answer):
    """All profiles."""

    profiles: list[ProfileEntry]


class BaseQuery(Request):
    """A taxonomy, InstructLab's own folder where no `path` is given, and a git revision to compare with."""

    path: str | None = Field(default=None, max_length=4096, pattern=r"^[^\x00]+$")
    base: str | None = Field(default=None, max_length=200, pattern=r"^[^\x00]+$")


class ChangedLeaf(Answer):
    """A leaf that is not as it was; `before` is its earlier path where it was renamed."""

    file: str
    kind: Literal["added", "modified", "renamed", "untracked", "deleted"]
    before: str | None = None


class TaxonomyDiff(Answer):
    """What has changed since `commit`, which `base` stood for; all leaves where it is null."""

    root: str
    base: str
    commit: str | None
    changes: list[ChangedLeaf]
    misnamed: list[str] = Field(description="Files that were meant as leaves and are not read.")


class FindingList(Answer):
    """Findings, by file and line."""

    findings: list[Finding]
