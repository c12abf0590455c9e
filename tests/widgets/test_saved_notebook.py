"""What a notebook file keeps of a job: the last state that was seen, readable without a kernel."""

from __future__ import annotations

import base64
import re

from nbformat import NotebookNode

from ilab_jupyter.client.handle import JobHandle
from ilab_jupyter.jobs.sync import SyncJobs

WIDGET = "application/vnd.jupyter.widget-view+json"


def displayed(cell: NotebookNode) -> list[NotebookNode]:
    return [output.data for output in cell.outputs if output.output_type != "stream"]


def test_ended_job_is_saved_as_html_and_picture(run_cells) -> None:
    shown, waited, ended = run_cells(
        "job = %ilab train data.jsonl --name mine --max-steps 12\njob",
        "job.wait();",
        "job",
    )
    static, live = displayed(shown)
    assert live == {}
    assert "SUCCEEDED" in static["text/html"] and "step 12 of 12" in static["text/html"]
    assert "SUCCEEDED" in static["text/plain"]
    assert base64.b64decode(static["image/png"]).startswith(b"\x89PNG")
    assert waited.outputs == []
    again, *more = displayed(ended)
    assert more == [] and "SUCCEEDED" in again["text/html"] and WIDGET not in again


def test_waiting_in_a_cell_shows_the_job_once(run_cells) -> None:
    (cell,) = run_cells("%ilab train data.jsonl --name mine --max-steps 4 --wait")
    static, live = displayed(cell)
    assert "SUCCEEDED" in static["text/html"] and live == {}
    assert not [output for output in cell.outputs if output.output_type == "stream"]


def test_failed_job_saves_state_and_error_without_traceback(run_cells) -> None:
    (cell,) = run_cells("%ilab train data.jsonl --name fails --max-steps 6 --wait")
    static, live, error = cell.outputs
    assert "FAILED" in static.data["text/html"] and "%ilab logs" in static.data["text/html"]
    assert live.data == {}
    assert error.output_type == "error"
    assert (
        re.sub(r"\x1b\[\d+m", "", "\n".join(error.traceback)).splitlines()[0] == "Row 7 has <b>no</b> answer."
    )
    assert "Correct row 7." in error.evalue and ".py" not in "".join(error.traceback)


def test_running_job_is_saved_with_both_views(run_cells, scripted_jobs: SyncJobs) -> None:
    first, _ = run_cells(
        "job = %ilab train data.jsonl --name slow --max-steps 120\njob",
        "import time; time.sleep(3.5)",
        fresh=True,
    )
    static, live = displayed(first)
    assert WIDGET not in static and "RUNNING" in static["text/html"] and "step" in static["text/html"]
    assert set(live) == {WIDGET, "text/plain"} and live["text/plain"] == ""
    (job,) = scripted_jobs.list().jobs
    assert not job.state.ended
    (attached,) = run_cells(f"handle = %ilab attach {job.id[:-2]}\nhandle.wait()\nhandle")
    ended, *_ = displayed(attached)
    assert "step 120 of 120" in ended["text/html"]
    assert "Loss 3 at step 1, 0.025 at step 120" in ended["text/html"]
    assert "step 120/120" in JobHandle(scripted_jobs, job.id).logs()


def test_what_a_job_prints_and_is_called_stays_text(run_cells) -> None:
    (cell,) = run_cells(
        "from ilab_jupyter.client.handle import JobHandle\nfrom ilab_jupyter.jobs.record import JobSpec\n"
        "jobs = get_ipython().magics_manager.registry['IlabMagics'].jobs\n"
        "spec = JobSpec(kind='train', name='evil<script>alert(1)</script>', arguments={'max_steps': 3})\n"
        "JobHandle(jobs, jobs.submit(spec).id).wait()"
    )
    (static,) = displayed(cell)
    assert "&lt;script&gt;alert(1)" in static["text/html"]
    assert "&lt;script&gt;document.title" in static["text/html"]
    assert "<script" not in static["text/html"] and "\x1b" not in static["text/html"]


def test_assigned_job_shows_both_views_once(run_cells) -> None:
    assigned, ended = run_cells(
        "job = %ilab train data.jsonl --name slow --max-steps 20", "job.wait()\nagain = %ilab attach {job.id}"
    )
    static, live = displayed(assigned)
    assert "slow" in static["text/html"] and live == {}  # emptied when the job ended
    (once,) = displayed(ended)
    assert "SUCCEEDED" in once["text/html"]


def test_static_view_is_shown_after_extension_is_unloaded(run_cells) -> None:
    _, cell = run_cells(
        "job = %ilab train data.jsonl --name slow --max-steps 400",
        "%unload_ext ilab_jupyter\ndisplay(job)\njob.cancel();",
    )
    (static,) = displayed(cell)
    assert WIDGET not in static and "slow" in static["text/html"]
