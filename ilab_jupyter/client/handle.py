"""Handle of a job. Every property is read from the service, so that it is never stale."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from ilab_jupyter.client import curve, render
from ilab_jupyter.client.follow import Follower
from ilab_jupyter.client.stream import EventStream
from ilab_jupyter.errors import InvalidInput, NotFound, PublicError
from ilab_jupyter.jobs.record import Event, Job, JobFilter, LogChunk, Progress
from ilab_jupyter.jobs.state import JobState

if TYPE_CHECKING:
    from ilab_jupyter.jobs.sync import SyncJobs

SECOND_INTERRUPT_SECONDS = 2.0
LOG_TAIL_BYTES = 64 * 1024
SHOWN_MATCHES = 5


class JobFailed(PublicError):
    """A job that was waited for ended otherwise than in success; `job` is its last state."""

    status = 409

    def __init__(self, job: Job) -> None:
        message = job.message or f"The job {job.id} ended as {job.state.value}."
        super().__init__(message, render.advice(job), cause=job.cause or job.state.value.lower())
        self.job = job

    def _render_traceback_(self) -> list[str]:
        """IPython shows this instead of a traceback, which has no information about the job."""
        return [f"\x1b[31m{self.message}\x1b[0m", *filter(None, [self.hint])]


class Detached(KeyboardInterrupt):
    """Waiting was interrupted. The job goes on, or is stopping where `stopping`."""

    def __init__(self, id: str, *, stopping: bool) -> None:
        super().__init__(
            f"Asked job {id} to stop. See how it ends: %ilab attach {id}"
            if stopping
            else f"No longer waiting; job {id} goes on. "
            f"Stop it: %ilab cancel {id}  Watch it again: %ilab attach {id}"
        )
        self.id, self.stopping = id, stopping

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class JobHandle:
    """One job of one service. Reading never changes the job."""

    def __init__(self, jobs: SyncJobs, id: str) -> None:
        self.jobs = jobs
        self.id = id
        self.seen: Job | None = None
        self._cancelled = False
        self._history: list[dict[str, Any]] = []
        self._seen = 0
        self._reading = threading.Lock()
        self._phase = ""

    @classmethod
    def find(cls, jobs: SyncJobs, word: str) -> JobHandle:
        """The job with this id, name or unique beginning of an id; NotFound, or InvalidInput for several."""
        try:
            return cls(jobs, jobs.get(word).id)
        except (NotFound, InvalidInput):
            candidates = _candidates(jobs, word) if word else []
        # An id is a kind and eight letters; the beginning of either is enough.
        named = [job for job in candidates if job.name == word]
        matches = named or [
            job for job in candidates if job.id.startswith(word) or job.id.rpartition("-")[2].startswith(word)
        ]
        if len(matches) == 1:
            return cls(jobs, matches[0].id)
        if matches:
            shown = ", ".join(f"{job.id} ({job.state})" for job in matches[:SHOWN_MATCHES])
            more = len(matches) - SHOWN_MATCHES
            raise InvalidInput(
                f"{len(matches)} jobs {'are named' if named else 'begin with'} {word[:160]!r}: {shown}"
                f"{f' and {more} more' if more > 0 else ''}.",
                "Give the id of one.",
            )
        raise NotFound(f"There is no job {word[:160]!r}.", "See yours with `%ilab jobs`.")

    def refresh(self) -> Job:
        """The job as it is now."""
        self.seen = self.jobs.get(self.id)
        return self.seen

    @property
    def job(self) -> Job:
        return self.refresh()

    @property
    def state(self) -> JobState:
        return self.refresh().state

    @property
    def progress(self) -> Progress:
        return self.refresh().progress

    @property
    def result(self) -> dict[str, Any]:
        """What the task returned; empty until it has succeeded."""
        return self.refresh().result

    def cancel(self) -> JobHandle:
        """Stop the job; it may save a checkpoint first. A second call does nothing."""
        self.jobs.cancel(self.id)
        self._cancelled = True
        return self

    def resume(self) -> JobHandle:
        """A new attempt of this ended job, from its last checkpoint."""
        self.seen = self.jobs.resume(self.id)
        self._cancelled = False
        return self

    def logs(self, tail: int | None = None) -> str:
        """The newest attempt's log as a terminal would show it: whole, or its last `tail` lines."""
        if tail is not None:
            return render.tail(self._log_tail(max(LOG_TAIL_BYTES, tail * 400)), tail)
        text, offset = [], 0
        while True:
            chunk = self.jobs.logs(self.id, offset=offset, limit=1024 * 1024)
            text.append(chunk.text)
            if chunk.next_offset >= chunk.size or chunk.next_offset <= offset:
                return render.fold("".join(text))
            offset = chunk.next_offset

    def log_end(self, size: int = LOG_TAIL_BYTES) -> LogChunk:
        """The last `size` bytes of the newest attempt's log as written, and where more will come."""
        return self.jobs.logs(self.id, offset=-size, limit=size)

    def events(self, after: int = 0) -> list[Event]:
        """All events with seq > `after`, over all attempts."""
        found: list[Event] = []
        while page := self.jobs.events(self.id, after=after, limit=1000):
            found += page
            after = page[-1].seq
        return found

    def history(self) -> list[dict[str, Any]]:
        """Each progress report over all attempts: {seq, time, phase, step, total, loss, ...}."""
        for event in self.events(self._seen):
            self._seen = max(self._seen, event.seq)
            if event.type == "phase":
                self._phase = str(event.fields.get("name", ""))
            elif event.type == "progress":
                self._history.append(
                    {"seq": event.seq, "time": event.time, "phase": self._phase, **event.fields}
                )
        return list(self._history)

    @property
    def cursor(self) -> int:
        """The seq of the newest event that `history` has seen."""
        return self._seen

    def wait(
        self,
        timeout: float | None = None,
        *,
        follow: bool = False,
        until: Callable[[Event], bool] | None = None,
        out: TextIO | None = None,
    ) -> JobHandle:
        """Block until the job has ended, or until an event that `until` says yes to; `follow` prints the log
        and the progress to `out` meanwhile.

        An end that is neither success nor a cancellation by this handle is JobFailed. After `timeout` seconds
        TimeoutError. An interrupt stops the waiting and not the job, as Detached; a second one within two
        seconds asks the job to stop.
        """
        out = out or sys.stdout
        deadline = None if timeout is None else time.monotonic() + timeout
        if until is None:
            self.history()
        stream = EventStream(
            self.jobs,
            self.id,
            after=self.cursor if until is None else 0,
            log_offset=0 if follow else None,
        )
        try:
            if self._drain(stream, deadline, Follower(out) if follow else None, until):
                return self
        except KeyboardInterrupt:
            raise self._detach(out) from None
        finally:
            stream.close()
        job = self.refresh()
        wanted = {JobState.SUCCEEDED, JobState.CANCELLED} if self._cancelled else {JobState.SUCCEEDED}
        if job.state not in wanted:
            raise JobFailed(job)
        return self

    def snapshot(self) -> render.Snapshot:
        """What a static view of this moment shows."""
        return render.Snapshot(
            job=self.refresh(),
            curve=curve.points(self.history()),
            log=render.tail(self._log_tail(LOG_TAIL_BYTES), render.LOG_LINES),
            taken_at=datetime.now(UTC),
        )

    def __repr__(self) -> str:
        try:
            return render.line(self.refresh())
        except PublicError as error:
            return f"<Job {self.id}: {error.message}>"

    def _repr_html_(self) -> str:
        return render.html(self.snapshot())

    def _repr_png_(self) -> bytes | None:
        drawn = curve.points(self.history())
        return curve.png(drawn) if len(drawn) > 1 else None

    def _log_tail(self, size: int) -> str:
        return render.fold(self.log_end(size).text)

    def _drain(
        self,
        stream: EventStream,
        deadline: float | None,
        follower: Follower | None,
        until: Callable[[Event], bool] | None,
    ) -> bool:
        """Whether the event that `until` waits for came before the end."""
        goes_on = True
        while goes_on:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"Job {self.id} has not ended yet; it goes on.")
            step = 0.5 if deadline is None else min(0.5, max(0.01, deadline - time.monotonic()))
            events, goes_on = stream.batch(step)
            if follower is not None:
                follower.show(events)
            if until is not None and any(until(event) for event in events):
                return True
        return False

    def _detach(self, out: TextIO) -> Detached:
        print(
            f"\nNo longer waiting; job {self.id} goes on. "
            f"Interrupt again within {SECOND_INTERRUPT_SECONDS:.0f} s to stop it.",
            file=out,
            flush=True,
        )
        try:
            time.sleep(SECOND_INTERRUPT_SECONDS)
        except KeyboardInterrupt:
            self.jobs.cancel(self.id)
            return Detached(self.id, stopping=True)
        return Detached(self.id, stopping=False)


def _candidates(jobs: SyncJobs, text: str) -> list[Job]:
    """The jobs whose id or name contains the text, newest first."""
    found: list[Job] = []
    cursor: str | None = None
    while True:
        page = jobs.list(JobFilter(text=text[:200]), cursor=cursor, limit=500)
        found += page.jobs
        if (cursor := page.cursor) is None:
            return found
