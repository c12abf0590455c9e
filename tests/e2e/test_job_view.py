"""The live view of a job in a real notebook: what a person sees, and what stays when page or kernel go."""

from __future__ import annotations

import json
import re

from playwright.sync_api import expect

from tests.e2e.notebooks import lab_variables, notebook, open_with_magics
from tests.support.interpreter import worker_of

__all__ = ["lab_variables"]

WIDGET = "application/vnd.jupyter.widget-view+json"


def test_view_is_live_cancels_and_is_kept_in_file(lab_page, lab):
    path = notebook(lab.root, "evil.ipynb", "job = %ilab train data.jsonl --name evil --max-steps 1500\njob")
    open_with_magics(lab_page, "evil.ipynb")
    output = lab_page.run_cell(1)
    view = output.get_by_role("region", name="Job")
    expect(view.get_by_role("status")).to_have_text("▶ RUNNING")
    expect(view.get_by_role("progressbar")).to_have_attribute("aria-valuenow", re.compile(r"^[1-9]\d*$"))
    expect(view.get_by_text(re.compile(r"step \d+ of 1500 · loss .* left"))).to_be_visible()
    expect(view.get_by_role("img", name=re.compile(r"^Loss .* at step \d+"))).to_be_visible()
    log = view.get_by_role("log")
    expect(log).to_contain_text("<script>document.title='owned'</script>")
    assert view.locator("script, img").count() == 0
    assert "owned" not in lab_page.page.title()
    # The static view lies beside it for the file, and is not shown twice.
    static = output.locator("div[class^='ilab-job-'] > div", has_text="Live again")
    expect(static).to_have_count(1)
    expect(static).to_be_hidden()
    lab_page.screenshot("job-live")

    view.get_by_role("button", name="Cancel", exact=True).click()
    expect(view).to_have_count(0, timeout=30_000)
    expect(output.get_by_text("■ CANCELLED")).to_be_visible()
    expect(output.get_by_text(re.compile("%ilab resume train-"))).to_be_visible()
    expect(output.get_by_role("img", name=re.compile("^Loss 3 at step 1, "))).to_be_visible()
    lab_page.screenshot("job-ended")

    lab_page.save()
    kept = [item.get("data", {}) for item in json.loads(path.read_text())["cells"][1]["outputs"]]
    assert WIDGET not in str(kept)
    assert "CANCELLED" in "".join(kept[0]["text/html"]) and kept[0]["image/png"]


def test_view_continues_after_reload_and_in_new_kernel(lab_page, lab):
    steps = 4000
    command = f"job = %ilab train data.jsonl --name slow --max-steps {steps}\njob"
    notebook(lab.root, "slow.ipynb", command, "%ilab attach")
    open_with_magics(lab_page, "slow.ipynb")
    output = lab_page.run_cell(1)
    step = re.compile(rf"step (\d+) of {steps}")
    expect(output.get_by_text(step).filter(visible=True)).to_be_visible()
    lab_page.save()

    lab_page.open_notebook("slow.ipynb")
    view = lab_page.cell(1).get_by_role("region", name="Job")
    expect(view.get_by_role("status")).to_have_text("▶ RUNNING")
    before = view.get_by_text(step).inner_text()
    expect(view.get_by_text(before)).to_have_count(0, timeout=30_000)  # it shows a later step

    (session,) = lab.get("api/sessions")
    lab.post(f"api/kernels/{session['kernel']['id']}/restart")
    [job] = [job for job in lab.get("ilab/api/jobs")["jobs"] if job["name"] == "slow"]
    # Nothing is added from here on, so what the new view shows is what happened before.
    worker_of(job["id"]).suspend()
    last = lab.job(job["id"]).progress.step
    open_with_magics(lab_page, "slow.ipynb")
    view = lab_page.run_cell(2).get_by_role("region", name="Job")
    expect(view.get_by_role("log")).to_contain_text(f"step {last}/{steps}")
    expect(view.get_by_role("img", name=re.compile("from 3$"))).to_be_visible()
    assert int(step.search(view.inner_text())[1]) == last > int(step.search(before)[1])
    worker_of(job["id"]).resume()
