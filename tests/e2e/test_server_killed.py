"""Jobs, logs and notebooks after the Jupyter server was killed and started again."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.notebooks import lab_variables, notebook, open_with_magics

__all__ = ["lab_variables"]


def test_open_log_continues_after_server_was_killed(lab_page, lab):
    lab_page.open()
    panel = lab_page.panel()
    (lab.root / "rows.jsonl").write_text("{}\n")
    lab.submit("train", "logged", data=[str(lab.root / "rows.jsonl")], max_steps=250)
    panel.get_by_role("button", name="Open the log of logged").click()
    log = lab_page.page.get_by_role("log")
    expect(log.get_by_text("step 5/")).to_be_visible()
    lab.kill()
    expect(panel.get_by_role("status")).to_have_text("connecting …")
    lab.start()
    expect(lab_page.page.locator(".jp-IlabLog-status")).to_contain_text("Succeeded", timeout=60_000)
    lines = log.locator(".jp-IlabLog-line")
    expect(lines).to_have_count(251)
    texts = lines.all_inner_texts()[1:]
    assert [int(re.split("[ /]", text)[1]) for text in texts] == list(range(1, 251))
    expect(panel.get_by_role("status")).to_have_text("live", timeout=60_000)


@pytest.mark.timeout(900)
def test_training_survives_page_kernel_and_server(lab, lab_page):
    """Close the page, restart the kernel, kill the server, start it again: one training, all of it."""
    steps = 400
    command = f"%ilab train data.jsonl --name surviving --max-steps {steps}"
    notebook(lab.root, "before.ipynb", command)
    open_with_magics(lab_page, "before.ipynb")
    lab_page.run_cell(1)
    [job] = [job for job in lab.get("ilab/api/jobs")["jobs"] if job["name"] == "surviving"]
    id = job["id"]
    before = lab.wait(id, lambda job: job.progress.step >= 5)

    lab_page.page.goto("about:blank")
    for kernel in lab.get("api/kernels"):
        lab.post(f"api/kernels/{kernel['id']}/restart")
    lab.kill()
    lab.start()

    after: Any = lab.job(id)
    assert after.state.value in ("RUNNING", "SUCCEEDED")
    assert after.attempt == 1
    assert after.state.ended or after.progress.step >= before.progress.step
    notebook(lab.root, "after.ipynb", f"%ilab attach {id} --wait")
    open_with_magics(lab_page, "after.ipynb")
    output = lab_page.run_cell(1)
    expect(output).to_contain_text("SUCCEEDED", ignore_case=True)
    lab_page.screenshot("attached-after-kill")

    job = lab.job(id)
    assert job.state.value == "SUCCEEDED"
    assert job.result["steps"] == steps
    events = lab.get(f"ilab/api/jobs/{id}/events?limit=1000")["events"]
    shown = [event["step"] for event in events if event["type"] == "progress"]
    assert shown == sorted(set(shown)) and shown[-1] == steps
    assert len([event for event in events if event["type"] == "phase" and event["name"] == "training"]) == 1
    log = lab.get(f"ilab/api/jobs/{id}/log?limit=1000000")
    assert log["offset"] == 0
    assert log["ended"]
    assert log["next_offset"] == log["size"] > 0
    trained = [int(step) for step in re.findall(rf"^.*\rstep (\d+)/{steps} ", log["text"], re.MULTILINE)]
    assert trained == list(range(1, steps + 1)), "a step was lost or trained twice"
