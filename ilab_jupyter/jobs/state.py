"""The states of an attempt and the allowed transitions between them."""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """QUEUED -> STARTING -> RUNNING -> (STOPPING) -> one of the four final states."""

    QUEUED = "QUEUED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    INTERRUPTED = "INTERRUPTED"

    @property
    def ended(self) -> bool:
        """True for the four final states, which are written once."""
        return self in ENDS

    @property
    def resumable(self) -> bool:
        """True if a new attempt may follow."""
        return self in ENDS and self is not JobState.SUCCEEDED


ENDS = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED})
LIVE = frozenset({JobState.STARTING, JobState.RUNNING, JobState.STOPPING})

MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.STARTING, JobState.CANCELLED}),
    JobState.STARTING: ENDS | {JobState.RUNNING, JobState.STOPPING},
    JobState.RUNNING: ENDS | {JobState.STOPPING},
    JobState.STOPPING: ENDS,
    **{end: frozenset() for end in ENDS},
}
