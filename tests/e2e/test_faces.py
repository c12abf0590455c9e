"""The same job seen by magic, widget, panel, REST and SDK has the same state and progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
from IPython.core.interactiveshell import InteractiveShell
from playwright.sync_api import expect

from ilab_jupyter.client.connect import connect
from ilab_jupyter.client.handle import JobHandle
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.widgets.job import JobView
from tests.support.interpreter import make_interpreter

STEPS = 300


@pytest.fixture
def lab_config(tmp_path: Path) -> dict[str, Any]:
    """Jobs run in a worker that needs no engine, started as any `worker_python` is."""
    python = make_interpreter(tmp_path / "worker-python")
    return {"IlabApp": {"worker_python": str(python)}}


@pytest.fixture
def shell():
    """An IPython with the magics loaded."""
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "ilab_jupyter")
    yield shell
    shell.run_line_magic("unload_ext", "ilab_jupyter")
    InteractiveShell.clear_instance()


def look(lab, shell, id: str) -> dict[str, tuple[str, int]]:
    """State and step of the job, as each face tells it."""
    rest = lab.job(id)
    sdk = SyncJobs(connect()).get(id)
    magic = shell.run_line_magic("ilab", f"attach {id}")
    view = JobView(JobHandle(SyncJobs(connect()), id))
    assert view.job["fraction"] == rest.progress.fraction
    listed = next(job for job in shell.run_line_magic("ilab", "jobs") if job.id == id)
    return {
        "REST": (rest.state.value, rest.progress.step),
        "SDK": (sdk.state.value, sdk.progress.step),
        "%ilab attach": (magic.state.value, magic.progress.step),
        "%ilab jobs": (listed.state.value, listed.progress.step),
        "widget": (view.job["state"], int(view.curve[-1][0])),
    }


def test_all_faces_tell_the_same_of_a_job_that_runs_and_of_one_that_has_ended(lab, lab_page, shell):
    lab_page.open()
    panel = lab_page.panel()
    id = lab.submit("train", "orchard", data=["orchard"], max_steps=STEPS).id
    lab.wait(id, lambda job: job.progress.step > 10)
    worker = next(
        process
        for process in psutil.process_iter(["cmdline"])
        if "/worker-python" in " ".join((line := process.info["cmdline"] or [])[:2])
        and any(id in part for part in line)
    )
    worker.suspend()
    step = lab.job(id).progress.step

    card = panel.locator(f'[data-job="{id}"]')
    assert set(look(lab, shell, id).values()) == {("RUNNING", step)}
    expect(card.get_by_text("Running", exact=True)).to_be_visible()
    expect(card.get_by_role("progressbar")).to_have_attribute("aria-valuenow", str(step))

    worker.resume()
    lab.wait(id, lambda job: job.state.ended)
    assert set(look(lab, shell, id).values()) == {("SUCCEEDED", STEPS)}
    expect(card.get_by_text("Succeeded", exact=True)).to_be_visible()
