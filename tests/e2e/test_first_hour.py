"""The first hour of a new user in a real JupyterLab: views that stay true, removal, many jobs."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

from playwright.sync_api import expect

from ilab_jupyter import paths, starter
from tests.e2e.notebooks import lab_variables, notebook, open_with_magics

__all__ = ["lab_variables"]

ERROR = "Error displaying widget"


def restart(lab_page: Any) -> None:
    """Restart the kernel with the button of the notebook's toolbar."""
    lab_page.page.keyboard.press("Escape")
    lab_page.page.get_by_role("button", name=re.compile("Restart the kernel")).first.click()
    lab_page.page.locator(".jp-Dialog button.jp-mod-accept").click()
    lab_page.wait_idle()


def test_view_tells_lost_kernel_and_saved_notebook_shows_card_alone(lab_page, lab):
    start, attach = "job = %ilab train data.jsonl --name long-run --max-steps 2000", "%ilab attach long-run"
    path = notebook(lab.root, "long-run.ipynb", start, attach)
    open_with_magics(lab_page, "long-run.ipynb")
    view = lab_page.run_cell(1).get_by_role("region", name="Job")
    expect(view.get_by_role("status")).to_have_text("▶ RUNNING")
    # The static view is stored beside it a moment later.
    lab_page.page.wait_for_timeout(3000)
    restart(lab_page)
    expect(view.get_by_role("alert").filter(has_text="Not connected since")).to_contain_text(
        "%ilab attach train-"
    )
    expect(view.get_by_role("status")).to_have_text("? last seen RUNNING")
    expect(view.get_by_role("button")).to_be_disabled()
    lab_page.screenshot("job-not-connected")

    lab_page.save()
    assert "widget-view" in json.dumps(json.loads(path.read_text())["cells"][1]["outputs"])
    lab_page.open_notebook("long-run.ipynb")
    saved = lab_page.cell(1)
    expect(saved.get_by_text("The job may have gone on since then.")).to_be_visible()
    expect(saved.get_by_text(ERROR)).to_have_count(1)
    expect(saved.get_by_text(ERROR)).to_be_hidden()
    lab_page.screenshot("job-saved")

    lab_page.run_cell(0)
    view = lab_page.run_cell(2).get_by_role("region", name="Job")
    expect(view.get_by_role("status")).to_have_text("▶ RUNNING")
    lab.kill()
    expect(view.locator(".ilab-job-offline")).to_contain_text("Not connected", timeout=40_000)
    expect(view.locator("button")).to_be_disabled()
    lab.start()


def test_models_and_datasets_are_removed_in_the_panel(lab_page, lab):
    for name in ("series-of-november-with-rank-16-seed-1", "series-of-november-with-rank-16-seed-2"):
        shutil.copytree(starter.FOLDER, paths.models_dir() / name)
    data = paths.datasets_dir() / "bread"
    data.mkdir(parents=True)
    (data / "messages_bread.jsonl").write_text(json.dumps({"messages": []}) + "\n")
    lab_page.open()
    panel = lab_page.panel()
    dialog = lab_page.page.get_by_role("dialog")
    for label in ("Remove the model series-of-november-with-rank-16-seed-1", "Remove the dataset bread"):
        panel.get_by_role("button", name=label).click()
        dialog.get_by_role("button", name="Cancel").click()
        panel.get_by_role("button", name=label).click()
        dialog.get_by_role("button", name="Remove").click()
        expect(panel.get_by_role("button", name=label)).to_have_count(0)
    assert [path.name for path in paths.models_dir().iterdir()] == ["series-of-november-with-rank-16-seed-2"]
    assert not data.exists()
    expect(panel.get_by_role("button", name="Remove the model starter")).to_have_count(0)


def test_sections_of_many_jobs_scroll_by_themselves(lab_page, lab):
    data = paths.datasets_dir() / "bread"
    data.mkdir(parents=True)
    row = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}
    (data / "messages_bread.jsonl").write_text(json.dumps(row) + "\n")
    lab.post("ilab/api/queue/pause", {"reason": "the disk is exchanged"})
    names = [f"series-of-november-with-a-long-name-and-seed-{number}" for number in range(40)]
    ids = [lab.submit("train", name, data=["bread"], max_steps=5).id for name in names]
    lab_page.open()
    panel = lab_page.panel()
    expect(panel.locator("[data-job]", has_text="series-of-november-with-a-long-name")).to_have_count(40)
    card = panel.locator(f'[data-job="{ids[-1]}"]')
    expect(card.get_by_text(ids[-1])).to_be_visible()
    title = card.locator(".jp-IlabItem-title")
    assert title.evaluate("node => node.scrollWidth <= node.clientWidth")
    # Said above the list, and by the job that is next.
    expect(panel.get_by_text("the disk is exchanged")).to_have_count(2)
    heights = panel.locator(".jp-IlabSection-body").evaluate_all(
        "nodes => nodes.map(node => [node.clientHeight, node.scrollHeight])"
    )
    assert heights[0][1] > 3000 and 200 < heights[0][0] < 700
    for name in ("Served models", "Models", "Datasets"):
        expect(panel.get_by_role("button", name=re.compile(f"^{name}"))).to_be_in_viewport()
    lab_page.screenshot("panel-many-jobs")
