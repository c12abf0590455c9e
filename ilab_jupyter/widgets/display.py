"""How a job appears in a notebook: a live view for the page, beside it the static view that the file keeps.

They are two outputs. The live one hides the other while it is on a page; when the job ends the live one is
emptied, because a stored widget shows only an error once its kernel is gone.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

from IPython import get_ipython
from IPython.display import publish_display_data

from ilab_jupyter.client import render
from ilab_jupyter.client.handle import JobHandle
from ilab_jupyter.client.stream import EventStream
from ilab_jupyter.errors import PublicError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ilab_jupyter.widgets.job import JobView

BATCH_SECONDS = 0.2
LOOK_SECONDS = 3.0
# The page takes 15 s without a message for a lost connection; see static/job.js.
HEARTBEAT_SECONDS = 5.0
FIRST_SAVE_SECONDS, SAVE_SECONDS = 2.0, 10.0
KEPT_VIEWS = 16

_open: dict[JobHandle, LiveDisplay] = {}
# The cell and the job of the newest static view.
_static: tuple[str, str] = ("", "")
# A page that is loaded again after the end finds these views in the kernel; older ones are closed.
_ended: deque[JobView] = deque()


def install(ip: InteractiveShell) -> None:
    """Let this kernel show handles through `show`."""
    formatter = ip.display_formatter
    if formatter is not None:
        formatter.ipython_display_formatter.for_type(JobHandle, show)
    if settle not in ip.events.callbacks["post_run_cell"]:
        ip.events.register("post_run_cell", settle)


def remove(ip: InteractiveShell) -> None:
    """Undo `install`."""
    formatter = ip.display_formatter
    if formatter is not None:
        formatter.ipython_display_formatter.type_printers.pop(JobHandle, None)
    if settle in ip.events.callbacks["post_run_cell"]:
        ip.events.unregister("post_run_cell", settle)


def show(handle: JobHandle) -> None:
    """Display a handle: live while the job is, static once it has ended. Twice in one cell is shown once."""
    global _static
    shown, cell = _open.get(handle), _cell()
    if shown is not None and shown.cell == cell:
        shown.settle()
        return
    if cell and _static == (cell, handle.id):
        return
    try:
        snapshot = handle.snapshot()
        if not snapshot.job.state.ended:
            _open[handle] = LiveDisplay(handle, snapshot)
            return
    except PublicError as error:
        _publish({"text/plain": f"<Job {handle.id}: {error}>"})
        return
    _publish(render.bundle(snapshot))
    _static = cell, handle.id


def settle(*_: Any) -> None:
    """After a cell: a job whose end the cell has seen is stored as ended before the next cell runs."""
    for handle, shown in list(_open.items()):
        if shown.settle():
            _open.pop(handle, None)


def _publish(bundle: dict[str, Any], display_id: str | None = None, *, update: bool = False) -> None:
    transient = None if display_id is None else {"display_id": display_id}
    publish_display_data(data=bundle, transient=transient, update=update)  # type: ignore[no-untyped-call]


def _cell() -> str:
    parent = getattr(get_ipython(), "parent_header", None) or {}
    header = parent.get("header", parent)
    return str(header.get("msg_id", ""))


class LiveDisplay:
    """Two outputs of one cell, and the thread that keeps both up to date until the job ends."""

    def __init__(self, handle: JobHandle, snapshot: render.Snapshot) -> None:
        from ilab_jupyter.widgets.job import JobView

        token = uuid.uuid4().hex
        self.cell = _cell()
        self.view = JobView(handle, hides=f"ilab-job-{token}")
        self._handle = handle
        self._static, self._live = f"ilab-static-{token}", f"ilab-live-{token}"
        self._settled = False
        self._lock = threading.Lock()
        # Without the PNG: matplotlib takes a second to load, and the cell would wait for it.
        _publish(render.bundle(snapshot, hidden_by=self.view.hides, picture=False), self._static)
        _publish(_view_bundle(self.view), self._live)
        self.view.resumed = self._start
        self._start()

    def _start(self) -> None:
        self._settled = False
        threading.Thread(target=self._follow, name=f"ilab-view-{self._handle.id}", daemon=True).start()

    def settle(self) -> bool:
        """Where the handle has seen the job's end: store the static view as the cell's output, once."""
        seen = self._handle.seen
        if seen is None or not seen.state.ended:
            return False
        with self._lock:
            if self._settled:
                return True
            # Under the lock to its end: the cell must not be over before its output is stored.
            try:
                bundle = render.bundle(self._handle.snapshot())
            except PublicError:
                return False
            self._settled = True
            _publish(bundle, self._static, update=True)
            _publish({}, self._live, update=True)
        _ended.append(self.view)
        while len(_ended) > KEPT_VIEWS:
            _ended.popleft().close()
        return True

    def _follow(self) -> None:
        handle, view = self._handle, self.view
        stream = EventStream(
            handle.jobs,
            handle.id,
            after=view.cursor,
            log_offset=view.log_offset,
            log_attempt=view.log_attempt,
        )
        save_at, connected = time.monotonic() + FIRST_SAVE_SECONDS, True
        look_at = time.monotonic() + LOOK_SECONDS
        beat_at = time.monotonic()
        goes_on, changed, picture = True, False, False
        while goes_on and not view.closed:
            events, goes_on = stream.batch(BATCH_SECONDS)
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + HEARTBEAT_SECONDS
                view.send_heartbeat()
            try:
                # There is no event for a changed position in the queue.
                waits = view.job["state"] == "QUEUED" and time.monotonic() >= look_at
                if events or waits:
                    changed, look_at = True, time.monotonic() + LOOK_SECONDS
                    view.apply(events)
                if connected is not (stream.error is None):
                    connected = not connected
                    view.notice = f"Not connected: {stream.error.message}" if stream.error else ""
                if changed and goes_on and time.monotonic() >= save_at:
                    save_at, changed = time.monotonic() + SAVE_SECONDS, False
                    self._save(picture)
                    picture = True
            except PublicError as error:
                connected, view.notice = False, f"Not connected: {error.message}"
        stream.close()
        if not view.closed:
            self.settle()

    def _save(self, picture: bool) -> None:
        bundle = render.bundle(self._handle.snapshot(), hidden_by=self.view.hides, picture=picture)
        with self._lock:
            if not self._settled:
                _publish(bundle, self._static, update=True)


def _view_bundle(view: JobView) -> dict[str, Any]:
    """The widget, with an empty text: where no widget can be shown, the static view beside it is enough."""
    data, *_ = view._repr_mimebundle_() or ({},)
    return {**data, "text/plain": ""}
