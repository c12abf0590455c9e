"""Static view of a job: one line of text, and static HTML in which all text is escaped."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ilab_jupyter.client import curve as curves
from ilab_jupyter.display import cut, safe, table
from ilab_jupyter.display import html as escape
from ilab_jupyter.jobs.logs.folding import fold as fold
from ilab_jupyter.jobs.record import Job
from ilab_jupyter.jobs.state import JobState

LOG_LINES = 20
ARGUMENT_ROWS = 50

# Symbol and colour say the same, so that neither is needed alone. White text on each colour reaches 4.5:1.
BADGES: dict[JobState, tuple[str, str]] = {
    JobState.QUEUED: ("…", "#57606a"),
    JobState.STARTING: ("▸", "#0969da"),
    JobState.RUNNING: ("▶", "#0969da"),
    JobState.STOPPING: ("■", "#9a6700"),
    JobState.SUCCEEDED: ("✓", "#1a7f37"),
    JobState.FAILED: ("✗", "#c4261d"),
    JobState.CANCELLED: ("■", "#57606a"),
    JobState.INTERRUPTED: ("!", "#9a6700"),
}


@dataclass(frozen=True)
class Snapshot:
    """All that a static view shows, taken at one moment."""

    job: Job
    curve: list[curves.Point]
    log: str
    taken_at: datetime


def tail(text: str, lines: int) -> str:
    """The last `lines` lines of a folded log."""
    return "\n".join(text.rstrip("\n").split("\n")[-lines:]) if lines > 0 else ""


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: float) -> str:
    """Bytes for people: `3.1 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def where(job: Job) -> str:
    """Progress of the job as text: why it waits, or phase, step and time left; how long it took."""
    if job.state is JobState.QUEUED:
        why = (job.pending_reason or "").removesuffix(".")
        parts = [f"waiting: {why}" if why else "waiting for its turn"]
        if job.position is not None:
            parts.append(f"number {job.position} in its queue")
        if job.wait_seconds is not None:
            parts.append(f"starts in about {duration(job.wait_seconds)}")
        return " · ".join(parts)
    progress = job.progress
    parts = [progress.phase] if progress.phase and not job.state.ended else []
    if progress.total:
        parts.append(f"step {progress.step} of {progress.total}")
    elif progress.step:
        parts.append(f"step {progress.step}")
    loss = progress.metrics.get("loss")
    if isinstance(loss, int | float):
        parts.append(f"loss {loss:.4g}")
    if progress.eta_seconds is not None and not job.state.ended:
        parts.append(f"{duration(progress.eta_seconds)} left")
    if job.state.ended and job.started_at and job.ended_at:
        parts.append(f"took {duration((job.ended_at - job.started_at).total_seconds())}")
    return " · ".join(parts)


def advice(job: Job) -> str:
    """What the person can do now about an end that is not success, and how; empty for one that is."""
    if not job.state.resumable or not job.remedy or job.remedy in (job.hint or ""):
        return job.hint or ""
    return f"{job.hint or ''} Next: %ilab {job.remedy}".strip()


def line(job: Job) -> str:
    """`<Job ID train 'my-model' RUNNING · training · step 3 of 9>`."""
    title = f" {job.name!r}" if job.name and job.name != job.kind else ""
    standing = " · ".join(filter(None, (job.state.value, where(job), job.message)))
    return f"<Job {job.id} {job.kind}{title} {safe(' '.join(fold(standing).split()))}>"


def arguments(job: Job) -> list[tuple[str, str, str]]:
    """Name, value and source of each argument that has a value."""
    spec = job.spec
    return [
        (name, _value(value), spec.sources.get(name, "default" if spec.sources else "argument"))
        for name, value in spec.arguments.items()
        if value not in (None, [], {})
    ]


def resolved(job: Job) -> str:
    """One line on the arguments that config.yaml, `init` or the registry gave; '' where there are none."""
    found = [
        f"{name} {cut(value)}, {source}"
        for name, value, source in arguments(job)
        if source not in ("argument", "default", "model profile")
    ]
    return f"Resolved: {'; '.join(found)}" if found else ""


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def bundle(snapshot: Snapshot, *, hidden_by: str = "", picture: bool = True) -> dict[str, Any]:
    """The static view in every form a saved notebook may need; a PNG where there is a curve and `picture`.

    `hidden_by` is a class name by which a live view of the same job may hide this one while it is shown.
    """
    data: dict[str, Any] = {
        "text/plain": line(snapshot.job),
        "text/html": html(snapshot, hidden_by=hidden_by),
    }
    if picture and len(snapshot.curve) > 1:
        data["image/png"] = base64.b64encode(curves.png(snapshot.curve)).decode("ascii")
    return data


def html(snapshot: Snapshot, *, hidden_by: str = "") -> str:
    """No script, no style sheet, and only tags and attributes that Jupyter keeps in an untrusted notebook.

    So the curve is an image with its data inside: an inline <svg> would be dropped there.
    """
    job = snapshot.job
    symbol, colour = BADGES[job.state]
    parts = [
        f"<div><strong>{escape(job.name or job.kind)}</strong> "
        f'<span style="background-color:{colour};color:#ffffff;border-radius:4px;padding:1px 8px">'
        f"{symbol} {job.state.value}</span> <code>{escape(job.id)}</code></div>"
    ]
    if text := where(job):
        parts.append(f"<div>{escape(text)}</div>")
    if (fraction := job.progress.fraction) is not None and not job.state.ended:
        parts.append(f'<progress max="1" value="{fraction:.4f}" style="width:100%"></progress>')
    if job.message:
        parts.append(f"<div><strong>{escape(job.message)}</strong></div>")
    if text := advice(job):
        parts.append(f"<div>{escape(text)}</div>")
    if len(snapshot.curve) > 1:
        picture = base64.b64encode(curves.svg(snapshot.curve).encode()).decode("ascii")
        parts.append(
            f'<img alt="{escape(curves.describe(snapshot.curve))}" '
            f'width="{curves.WIDTH}" height="{curves.HEIGHT}" src="data:image/svg+xml;base64,{picture}">'
        )
    if rows := arguments(job):
        parts.append(
            "<details><summary>Arguments</summary>"
            f"{table(('argument', 'value', 'source'), rows, ARGUMENT_ROWS)}</details>"
        )
    if snapshot.log.strip():
        parts.append(
            f"<details><summary>Log, last {LOG_LINES} lines</summary>"
            f"<pre>{escape(tail(snapshot.log, LOG_LINES))}</pre></details>"
        )
    seen = f"Seen {snapshot.taken_at:%Y-%m-%d %H:%M:%S} UTC."
    attach = f"<code>%ilab attach {escape(job.id)}</code>"
    live = "" if job.state.ended else f" The job may have gone on since then. Live again: {attach}"
    parts.append(f"<small>{seen}{live}</small>")
    name = f' class="{escape(hidden_by)}"' if hidden_by else ""
    frame = "border:1px solid #80808080;border-radius:6px;padding:10px 12px"
    return f'<div{name}><div style="{frame}">{"".join(parts)}</div></div>'
