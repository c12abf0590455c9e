"""The object that people hold for a job: waiting, following, letting go, and how it looks."""

from __future__ import annotations

import base64
import io
import os
import re
import signal
import threading
import time

import pytest

from ilab_jupyter.client import render
from ilab_jupyter.client.curve import points, svg, thin
from ilab_jupyter.client.handle import Detached, JobFailed, JobHandle
from ilab_jupyter.client.table import JobList
from ilab_jupyter.errors import InvalidInput, NotFound
from ilab_jupyter.jobs.record import JobSpec
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs


def start(jobs: SyncJobs, name: str, steps: int = 5) -> JobHandle:
    return JobHandle(jobs, jobs.submit(JobSpec(kind="train", name=name, arguments={"max_steps": steps})).id)


def test_waiting_gives_the_handle_when_the_job_has_succeeded(scripted_jobs: SyncJobs) -> None:
    handle = start(scripted_jobs, "plain")
    assert handle.wait(timeout=30) is handle
    assert handle.state is JobState.SUCCEEDED
    assert handle.result["steps"] == 5
    assert handle.progress.fraction == 1.0


def test_a_failure_is_raised_with_its_sentence_and_hint(scripted_jobs: SyncJobs) -> None:
    handle = start(scripted_jobs, "fails")
    with pytest.raises(JobFailed) as failure:
        handle.wait(timeout=30)
    assert failure.value.cause == "bad_data"
    assert failure.value.message == "Row 7 has <b>no</b> answer."
    assert "Correct row 7." in failure.value.hint
    assert f"%ilab logs {handle.id}" in failure.value.hint


def test_a_time_limit_ends_the_waiting_and_not_the_job(scripted_jobs: SyncJobs) -> None:
    handle = start(scripted_jobs, "slow", steps=200)
    with pytest.raises(TimeoutError):
        handle.wait(timeout=0.3)
    assert not handle.state.ended


def test_following_prints_the_log_once_and_safely(scripted_jobs: SyncJobs) -> None:
    out = io.StringIO()
    start(scripted_jobs, "evil").wait(timeout=30, follow=True, out=out)
    text = out.getvalue()
    assert text.count("step 5/5") == 1
    assert "\x1b" not in text and "\r" not in text


def test_keyboard_interrupt_leaves_job_running_and_shows_hint(scripted_jobs: SyncJobs) -> None:
    handle, out = start(scripted_jobs, "slow", steps=200), io.StringIO()
    interrupt_after(0.5)
    with pytest.raises(Detached) as detached:
        handle.wait(follow=True, out=out)
    assert f"%ilab cancel {handle.id}" in str(detached.value)
    assert "goes on" in out.getvalue()
    assert handle.state is JobState.RUNNING


def test_a_second_interrupt_asks_the_job_to_stop(scripted_jobs: SyncJobs) -> None:
    handle = start(scripted_jobs, "slow", steps=200)
    interrupt_after(0.5)
    interrupt_after(1.0)
    with pytest.raises(Detached) as detached:
        handle.wait()
    assert detached.value.stopping
    handle.cancel().wait(timeout=30)
    assert handle.state is JobState.CANCELLED


def interrupt_after(seconds: float) -> None:
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()


def test_job_cancelled_by_the_handle_is_not_a_failure(scripted_jobs: SyncJobs) -> None:
    handle = start(scripted_jobs, "slow", steps=200)
    other = JobHandle(scripted_jobs, handle.id)
    handle.cancel().wait(timeout=30)
    with pytest.raises(JobFailed) as failure:
        other.wait(timeout=5)
    assert failure.value.cause == "cancelled"


def test_curve_merges_attempts_and_counts_repeated_steps_once(scripted_jobs: SyncJobs) -> None:
    handle = start(scripted_jobs, "fails", steps=6)
    with pytest.raises(JobFailed):
        handle.wait(timeout=30)
    handle.resume().wait(timeout=30)
    history = handle.history()
    assert [entry["step"] for entry in history][:2] == [1, 2]
    assert history[-1]["step"] == 6
    assert [step for step, _ in points(history)] == [1, 2, 3, 4, 5, 6]
    assert handle.history() == JobHandle(scripted_jobs, handle.id).history()


def test_job_is_found_by_prefix_of_its_id(scripted_jobs: SyncJobs) -> None:
    handle, other = start(scripted_jobs, "one"), start(scripted_jobs, "two")
    assert JobHandle.find(scripted_jobs, handle.id).id == handle.id
    assert JobHandle.find(scripted_jobs, handle.id[:-2]).id == handle.id
    assert JobHandle.find(scripted_jobs, handle.id.split("-")[1][:5]).id == handle.id
    with pytest.raises(InvalidInput, match="2 jobs begin with 'train-'"):
        JobHandle.find(scripted_jobs, "train-")
    with pytest.raises(NotFound):
        JobHandle.find(scripted_jobs, "nothing")
    with pytest.raises(NotFound):
        JobHandle.find(scripted_jobs, "")
    other.wait(timeout=30)


def test_the_static_view_escapes_all_that_a_job_says(scripted_jobs: SyncJobs) -> None:
    name = "<script>alert(1)</script>"
    job = scripted_jobs.submit(JobSpec(kind="train", name=name, arguments={"max_steps": 3}))
    JobHandle(scripted_jobs, job.id).wait(timeout=30)
    evil, failed = start(scripted_jobs, "evil"), start(scripted_jobs, "fails")
    evil.wait(timeout=30)
    with pytest.raises(JobFailed):
        failed.wait(timeout=30)
    seen = [JobHandle(scripted_jobs, job.id)._repr_html_(), evil._repr_html_(), failed._repr_html_()]
    seen.append(JobList(scripted_jobs.list().jobs)._repr_html_())
    assert "&lt;script&gt;document.title" in seen[1]
    for html in seen:
        assert not re.search(r"<(script|svg|style|b|i|iframe)\b", html)
        assert "onerror" not in re.sub(r"&lt;.*?&gt;", "", html)


def test_curve_is_rendered_in_html_and_as_png(scripted_jobs: SyncJobs) -> None:
    handle = start(scripted_jobs, "plain")
    assert handle.wait(timeout=30)._repr_png_().startswith(b"\x89PNG")
    source = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', handle._repr_html_())
    assert source and base64.b64decode(source[1]).startswith(b"<svg")
    assert 'alt="Loss 3 at step 1, 0.6 at step 5"' in handle._repr_html_()


def test_a_job_without_a_curve_has_no_picture(scripted_jobs: SyncJobs) -> None:
    handle = start(scripted_jobs, "one", steps=1)
    assert handle.wait(timeout=30)._repr_png_() is None
    assert "<img" not in handle._repr_html_()


def test_last_lines_of_a_log_are_returned(scripted_jobs: SyncJobs) -> None:
    handle = start(scripted_jobs, "plain").wait(timeout=30)
    last = ["step 4/5 loss 0.7500 <b>&amp;</b>", "step 5/5 loss 0.6000 <b>&amp;</b>"]
    assert handle.logs(tail=2).splitlines() == last
    assert handle.logs().splitlines()[0] == "worker of train, attempt 1"


def test_a_flat_curve_and_a_long_one_can_be_drawn() -> None:
    assert "polyline" in svg([(1, 2.0), (2, 2.0)])
    long = [(float(step), 1.0) for step in range(10_000)]
    assert len(thin(long, 600)) == 600
    assert thin(long, 600)[0] == long[0] and thin(long, 600)[-1] == long[-1]
    assert points([{"step": 1, "loss": float("nan")}, {"step": 2, "loss": 1.0}, {"step": 3}]) == [(2, 1.0)]


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        ("10%\r20%\r30%\ndone", "30%\ndone"),
        ("30%\r", "30%"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07x", "red x"),
        ("a\x00b\x08c", "abc"),
        ("windows\r\n", "windows\n"),
    ],
)
def test_a_log_reads_as_a_terminal_would_leave_it(raw: str, seen: str) -> None:
    assert render.fold(raw) == seen


def test_durations_and_sizes_are_written_for_people() -> None:
    assert [render.duration(value) for value in (0.4, 59, 185, 7800)] == [
        "0 s",
        "59 s",
        "3 min 05 s",
        "2 h 10 min",
    ]
    assert [render.size(value) for value in (12, 3_100_000, 2.5e12)] == ["12 B", "3.1 MB", "2.5 TB"]


def test_letting_go_of_a_silent_job_leaves_no_thread_behind(scripted_jobs: SyncJobs) -> None:
    job = scripted_jobs.submit(JobSpec(kind="serve", name="quiet", arguments={"model": "m"}, queue="serving"))
    handle = JobHandle(scripted_jobs, job.id)
    handle.wait(timeout=30, until=lambda event: event.type == "endpoint")
    with pytest.raises(TimeoutError):
        handle.wait(timeout=0.3)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(
        "ilab-watch" in thread.name for thread in threading.enumerate()
    ):
        time.sleep(0.05)
    assert not [thread.name for thread in threading.enumerate() if "ilab-watch" in thread.name]
