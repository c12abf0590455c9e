"""The live view of one job: what is new is sent as it comes, and all of it is there for a later page."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from ilab_jupyter.client import curve, render
from ilab_jupyter.client.handle import JobHandle
from ilab_jupyter.errors import PublicError
from ilab_jupyter.jobs.record import Event, Job
from ilab_jupyter.widgets.tail import LogTail

STATIC = Path(__file__).parent / "static"
POINTS = 600


class JobView(anywidget.AnyWidget):
    """State, progress, loss curve and log of a job, with a button that cancels or resumes it.

    One thread feeds it (`apply`); `resumed` is called when a click has started a new attempt. Of the curve
    and the log only what was added is sent, in custom messages; the traits `curve` and `tail` hold the whole
    for a page that opens the view again. `cursor` says where the next events begin, `log_attempt` and
    `log_offset` where the next bytes of the log do.
    """

    _esm = STATIC / "job.js"
    _css = STATIC / "job.css"

    job = traitlets.Dict().tag(sync=True)
    curve: traitlets.List[list[float]] = traitlets.List().tag(sync=True)
    tail = traitlets.Dict().tag(sync=True)
    notice = traitlets.Unicode().tag(sync=True)
    hides = traitlets.Unicode().tag(sync=True)

    def __init__(self, handle: JobHandle, *, hides: str = "") -> None:
        self.handle = handle
        self._log = LogTail()
        self.resumed: Callable[[], None] = lambda: None
        job = handle.refresh()
        points = curve.points(handle.history(), POINTS)
        self.cursor = handle.cursor
        chunk = handle.log_end()
        self._log.append(chunk.text)
        self.log_attempt = chunk.attempt
        self.log_offset = chunk.next_offset
        super().__init__(
            job=wire(job), curve=[list(point) for point in points], tail=self._log_state(0), hides=hides
        )
        self.on_msg(self._clicked)

    @property
    def closed(self) -> bool:
        """True once the view was closed."""
        return self.comm is None

    def apply(self, events: list[Event]) -> Job:
        """Take what happened, send what it adds, and give the job as it is now."""
        self.cursor = max([self.cursor, *(event.seq for event in events)])
        points = [
            [event.fields["step"], event.fields["loss"]]
            for event in events
            if event.type == "progress" and isinstance(event.fields.get("loss"), int | float)
        ]
        if points:
            self.curve = extend(self.curve, points)
            self.send({"points": points})
        self._take_log([event for event in events if event.type == "log"])
        job = self.handle.refresh()
        self.job = wire(job)
        return job

    def send_heartbeat(self) -> None:
        """Tell the page that this kernel still feeds the view."""
        if not self.closed:
            self.send({"alive": True})

    def _take_log(self, events: list[Event]) -> None:
        added: list[str] = []
        fresh = False
        for event in events:
            if event.fields["attempt"] != self.log_attempt:
                self._log, self.log_attempt = LogTail(), event.fields["attempt"]
                added, fresh = [], True
            added += self._log.append(event.fields["text"])
            self.log_offset = event.fields["next_offset"]
        if events:
            self.tail = self._log_state(self.tail["seq"] + 1)
            self.send({"lines": added, "rest": self._log.rest, "seq": self.tail["seq"], "fresh": fresh})

    def _log_state(self, seq: int) -> dict[str, Any]:
        return {"lines": self._log.lines, "rest": self._log.rest, "seq": seq}

    def _should_send_property(self, key: str, value: Any) -> bool:
        return key not in ("curve", "tail") and bool(super()._should_send_property(key, value))

    def _clicked(self, _: object, content: Any, buffers: object) -> None:
        action = content.get("action") if isinstance(content, dict) else None
        if action in ("cancel", "resume"):
            # A click must not hold the kernel's message loop while a service answers.
            threading.Thread(target=self._act, args=(action,), daemon=True).start()

    def _act(self, action: str) -> None:
        try:
            (self.handle.cancel if action == "cancel" else self.handle.resume)()
        except PublicError as error:
            self.notice = str(error)
        else:
            self.notice = ""
            self.job = wire(self.handle.refresh())
            if action == "resume":
                self.resumed()


def extend(curve_so_far: list[list[float]], points: list[list[float]]) -> list[list[float]]:
    """The curve with new points; a resumed attempt that goes back in steps overwrites what it repeats."""
    kept = list(curve_so_far)
    for point in points:
        while kept and kept[-1][0] >= point[0]:
            kept.pop()
        kept.append(point)
    return kept if len(kept) <= 2 * POINTS else curve.thin(kept, POINTS)


def wire(job: Job) -> dict[str, Any]:
    """What the page shows of a job, all of it text and numbers."""
    return {
        "id": job.id,
        "name": job.name or job.kind,
        "state": job.state.value,
        "symbol": render.BADGES[job.state][0],
        "ended": job.state.ended,
        "resumable": job.state.resumable,
        "stopping": job.state.value == "STOPPING",
        "where": render.where(job),
        "fraction": job.progress.fraction,
        # A model is served until it is stopped, so that it has no progress.
        "endless": job.kind == "serve" and job.state.value == "RUNNING",
        "message": job.message or "",
        "advice": render.advice(job),
    }
