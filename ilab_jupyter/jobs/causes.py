"""Typed causes of final states other than SUCCEEDED: title, resume and retry policy, command to run."""

from __future__ import annotations

from dataclasses import dataclass

# Exit code of a worker that cannot write its result because the disk is full; EX_IOERR of sysexits.h.
NO_SPACE = 74

_RESUME = "resume {id}"
_LOGS = "logs {id} --tail 100"


@dataclass(frozen=True)
class Retry:
    """Retry policy: at most `max_retries` attempts in a row (None: no limit), each after a longer delay."""

    max_retries: int | None
    first_seconds: float
    factor: float
    max_seconds: float

    def wait(self, retries: int) -> float | None:
        """Return the seconds until the next attempt after so many consecutive retries; None to give up."""
        if self.max_retries is not None and retries >= self.max_retries:
            return None
        # Larger exponents would overflow.
        return min(self.first_seconds * self.factor ** min(retries, 64), self.max_seconds)


@dataclass(frozen=True)
class Cause:
    """One cause. `remedy` is the command after `%ilab`, with {id} for the job's id.

    `resumable_helps`: the same job with the same arguments can succeed once its hint was followed.
    """

    name: str
    title: str
    resumable_helps: bool
    retry: Retry | None = None
    remedy: str = ""

    def command(self, id: str) -> str:
        """Return the command for this job."""
        return (self.remedy or (_RESUME if self.resumable_helps else _LOGS)).format(id=id)


# No retry if a teacher cannot be reached, is slow or fails: the attempt itself has retried `max_retries`
# times, and the usual reason is a wrong address or a server that is switched off.
_TABLE = (
    Cause("cancelled", "It was cancelled", True),
    Cause("shutdown", "The machine or the server shut down", True),
    Cause("terminated", "Its process was terminated by an external signal", True),
    Cause("preempted", "Its resources were needed for another job", True, Retry(None, 5, 1, 5)),
    Cause("lost", "It never started", True),
    Cause("supervisor_lost", "Its supervisor was killed, or the machine stopped", True),
    Cause("restored", "It was running when the backup was made", True),
    Cause("killed", "Its process was killed for an unknown reason", True),
    Cause("crashed", "Its process crashed", True, remedy=_LOGS),
    Cause("no_result", "Its process ended without a result", True, remedy=_LOGS),
    Cause("worker_failed", "Its process cannot be started", True),
    Cause("worker_unfit", "The interpreter for jobs cannot run it", True),
    Cause("spawn_failed", "Its supervisor cannot be started", True),
    Cause("engine_missing", "The engine's libraries are not installed where jobs run", True),
    Cause("gpu_out_of_memory", "The GPU's memory is too small", True),
    Cause("out_of_memory", "The main memory is too small", True),
    Cause("disk_full", "The disk is full", True),
    Cause("state_folder", "A folder cannot be written", True),
    Cause("unavailable", "Something that it needs is unavailable", True),
    Cause("too_many", "A concurrency limit was reached", True),
    Cause("invalid", "An argument is wrong", False),
    Cause("not_found", "A file or a name does not exist", False),
    Cause("conflict", "It conflicts with the current state", False),
    Cause("forbidden", "It is not allowed", False),
    Cause("too_large", "A file is larger than the limit", False),
    Cause("bad_data", "The data is wrong, with file and line", False),
    Cause("data_missing", "The data does not exist", False, remedy="data"),
    Cause("model_missing", "The model does not exist", False, remedy="models"),
    Cause("model_gated", "The hub refuses the model to this user", True),
    Cause("hub_unreachable", "The hub cannot be reached", True),
    Cause("nan_loss", "The loss is NaN or infinite", False),
    Cause("bad_checkpoint", "The checkpoint is damaged", False),
    Cause("checkpoint_mismatch", "The checkpoint belongs to another training", False),
    Cause("teacher_unauthorized", "The teacher refuses the key", False),
    Cause("teacher_rate_limited", "The teacher had too many requests", True, Retry(5, 15, 2, 600)),
    Cause("teacher_unreachable", "The teacher cannot be reached", True),
    Cause("teacher_timeout", "The teacher timed out", True),
    Cause("teacher_context", "The teacher's context is too short for a prompt", False),
    Cause("teacher_failed", "The teacher failed", True),
    Cause("teacher_bad_answer", "The server is not a teacher", False),
    Cause("teacher_bad_address", "The teacher's address is wrong", False),
    Cause("teacher_forbidden", "The teacher's address is not allowed", False),
    Cause("teacher_model_missing", "The teacher does not have the model", False),
    Cause("teacher_unknown_prompt", "The embedded teacher does not know the pipeline's prompt", False),
    Cause("judge_unreachable", "The judge cannot be reached", True),
    Cause("judge_failed", "The judge refuses the key, or has no model to judge with", False),
    Cause("bad_config", "A configuration file is wrong", False),
    Cause("bad_taxonomy", "The taxonomy is wrong, with file and line", False),
    Cause("no_leaves", "The taxonomy has no leaf", False),
    Cause("no_changes", "The taxonomy has no change to learn from", False),
    Cause("not_a_repository", "The taxonomy is not a git repository", False),
    Cause("unknown_revision", "The revision does not exist in the taxonomy's repository", False),
    Cause("no_documents", "The documents of a knowledge leaf cannot be fetched", False),
    Cause("no_pdf_models", "The models that read PDF files are not installed", False),
    Cause("no_samples", "A leaf produced no samples", False),
    Cause("no_rows", "No row was left", False),
    Cause("bad_pipeline", "The pipeline is wrong", False),
    Cause("pipeline_failed", "A block of the pipeline failed", True, remedy=_LOGS),
    Cause("port_taken", "The port is taken", True),
    Cause("unhealthy", "The server stopped answering", True),
)
CAUSES: dict[str, Cause] = {cause.name: cause for cause in _TABLE}
# Causes outside the job: a server that starts again may queue these jobs again.
RESTARTED = frozenset({"shutdown", "supervisor_lost", "terminated"})


def retry(name: str | None) -> Retry | None:
    """Return the retry policy for this cause; None if another attempt cannot help."""
    return CAUSES[name].retry if name in CAUSES else None


def resumes(name: str | None) -> bool:
    """Whether `resume` can help; True for an unknown cause of a worker of another version."""
    return CAUSES[name].resumable_helps if name in CAUSES else True


def remedy(name: str | None, id: str) -> str:
    """Return the command after `%ilab` if the worker itself suggested none."""
    return CAUSES[name].command(id) if name in CAUSES else _LOGS.format(id=id)
