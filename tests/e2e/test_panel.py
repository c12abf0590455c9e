"""The panel in a real JupyterLab: what a person sees of jobs, logs, models and datasets, and can do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from ilab_jupyter import paths
from ilab_jupyter.jobs.state import JobState
from tests.support.interpreter import make_interpreter


def row(number: int) -> str:
    """A line of a messages dataset."""
    question = {"role": "user", "content": f"Question {number}?"}
    answer = {"role": "assistant", "content": f"<i>{number}</i>"}
    return json.dumps({"messages": [question, answer]}) + "\n"


@pytest.fixture
def lab_config(tmp_path: Path) -> dict[str, Any]:
    """Jobs run in a worker that needs no engine, started as any `worker_python` is."""
    python = make_interpreter(tmp_path / "worker-python")
    return {"IlabApp": {"worker_python": str(python), "slots": {"batch": 2}}}


@pytest.fixture
def dataset(own_folders: Path) -> Path:
    """A dataset of one file with 45 rows."""
    folder = paths.datasets_dir() / "orchard"
    folder.mkdir(parents=True)
    file = folder / "messages_orchard.jsonl"
    file.write_text("".join(row(number) for number in range(45)))
    return file


def test_an_empty_panel_teaches_the_first_command(lab_page):
    lab_page.open()
    panel = lab_page.panel()
    expect(panel.get_by_text("%ilab demo")).to_be_visible()
    expect(panel.get_by_text("No model is served")).to_be_visible()
    expect(panel.get_by_role("status")).to_have_text("live")
    lab_page.screenshot("panel-empty")


def test_a_job_that_is_submitted_elsewhere_appears_and_its_progress_moves(lab_page, lab):
    lab_page.open()
    panel = lab_page.panel()
    job = lab.submit("train", "orchard", data=["orchard"], max_steps=200)
    card = panel.locator(f'[data-job="{job.id}"]')
    expect(card.get_by_text("Running")).to_be_visible()
    bar = card.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuemax", "200")
    expect(bar).to_have_attribute("aria-valuenow", re.compile(r"^\d+$"))
    seen = int(bar.get_attribute("aria-valuenow"))
    expect(card.get_by_text(re.compile(r"loss \d"))).to_be_visible()
    expect(card.get_by_text(re.compile("left"))).to_be_visible()
    lab_page.page.wait_for_timeout(1500)
    assert int(bar.get_attribute("aria-valuenow")) > seen
    lab_page.screenshot("panel-running")


def test_cancel_stops_the_job_and_resume_starts_a_new_attempt(lab_page, lab):
    lab_page.open()
    panel = lab_page.panel()
    job = lab.submit("train", "orchard", data=["orchard"], max_steps=400)
    card = panel.locator(f'[data-job="{job.id}"]')
    expect(card.get_by_text("Running")).to_be_visible()
    panel.get_by_role("button", name="Cancel orchard").click()
    expect(card.get_by_text("Cancelled", exact=True)).to_be_visible()
    assert lab.job(job.id).state is JobState.CANCELLED
    panel.get_by_role("button", name="Resume orchard").click()
    expect(card.get_by_text("attempt 2")).to_be_visible()
    expect(card.get_by_text("Running")).to_be_visible()
    assert lab.job(job.id).attempt == 2


def test_a_failure_shows_its_reason_and_the_next_step(lab_page, lab):
    lab_page.open()
    panel = lab_page.panel()
    job = lab.submit("train", "doomed", model="broken", data=["orchard"], max_steps=5)
    card = panel.locator(f'[data-job="{job.id}"]')
    expect(card.get_by_text("Failed", exact=True)).to_be_visible()
    expect(card.get_by_text("The model folder holds no weights.")).to_be_visible()
    expect(card.get_by_text("Choose another model.")).to_be_visible()
    notification = lab_page.page.locator(".Toastify__toast")
    expect(notification).to_contain_text("doomed: failed.")
    lab_page.screenshot("panel-failed")
    notification.get_by_role("button", name="Open log").click()
    expect(lab_page.page.locator(".jp-IlabLog-status")).to_contain_text("Failed")


def test_a_queued_job_says_why_it_waits(lab_page, lab):
    for name in ("first", "second", "third"):
        lab.submit("train", name, data=["orchard"], max_steps=400)
    lab_page.open()
    waiting = lab_page.panel().get_by_role("listitem", name="third")
    expect(waiting.get_by_text("Queued")).to_be_visible()
    expect(waiting.locator(".jp-IlabItem-note")).to_have_text(re.compile(r"\w+ \w+"))
    waiting.get_by_role("button", name="Open the log of third").click()
    status = lab_page.page.locator(".jp-IlabLog-status")
    expect(status).to_contain_text("ahead of it in the queue 'batch'")
    expect(status).to_have_attribute("aria-live", "off")  # it counts down, and is not to be read out
    lab_page.screenshot("log-queued")


def test_the_queue_is_paused_with_a_reason_that_waiting_jobs_show_and_resumed(lab_page, lab):
    lab_page.open()
    panel = lab_page.panel()
    panel.get_by_role("button", name="Pause the queue").click()
    dialog = lab_page.page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("the disk is exchanged")
    dialog.get_by_role("button", name="Pause").click()
    expect(panel.get_by_role("status").filter(has_text="The queue is paused by")).to_contain_text(
        "the disk is exchanged"
    )
    job = lab.submit("train", "patient", data=["orchard"], max_steps=20)
    card = panel.locator(f'[data-job="{job.id}"]')
    expect(card.locator(".jp-IlabItem-note")).to_contain_text("the disk is exchanged. Number 1 in its queue.")
    lab_page.screenshot("panel-paused")
    panel.get_by_role("button", name="Resume the queue").click()
    expect(card.get_by_text("Succeeded", exact=True)).to_be_visible()
    expect(panel.get_by_role("button", name="Pause the queue")).to_be_visible()


def test_the_log_tab_follows_the_job_to_its_end(lab_page, lab):
    lab_page.open()
    panel = lab_page.panel()
    job = lab.submit("train", "orchard", data=["orchard"], max_steps=120)
    panel.get_by_role("button", name="Open the log of orchard").click()
    log = lab_page.page.get_by_role("log")
    # A carriage return folds, and what looks like HTML stays text.
    expect(log.get_by_text("step 5/120 loss 0.6000 <b>&amp;</b>", exact=True)).to_be_visible()
    expect(log).not_to_contain_text("loading")
    lab_page.screenshot("log-running")
    status = lab_page.page.locator(".jp-IlabLog-status")
    expect(status).to_have_text(re.compile(r"Succeeded after \d+ s"), timeout=40_000)
    lines = log.locator(".jp-IlabLog-line")
    expect(lines).to_have_count(121)
    expect(lines.first).to_have_text("worker of train, attempt 1")
    expect(lines.last).to_be_in_viewport()
    assert lab.job(job.id).state is JobState.SUCCEEDED
    lab_page.screenshot("log-ended")


def test_a_long_log_is_shown_from_its_end_and_earlier_lines_come_on_request(lab_page, lab):
    lab.settings("ilab-jupyter:plugin", logLines=6000)
    job = lab.submit("train", "orchard", data=["orchard"], max_steps=2)
    lab.wait(job.id, lambda job: job.state.ended)
    [log] = (lab.home / "state" / "jobs" / job.id).rglob("*log.txt")
    log.write_text("".join(f"line {n} {'x' * 60}\n" for n in range(10_000)))
    lab_page.open()
    lab_page.panel().get_by_role("button", name="Open the log of orchard").click()
    lines = lab_page.page.locator(".jp-IlabLog-line")
    expect(lines.last).to_contain_text("line 9999 ")
    shown = lines.count()
    assert shown < 3000
    first = int(lines.first.inner_text().split()[1])
    assert first == 10_000 - shown
    lab_page.page.locator(".jp-IlabLog-scroller").evaluate("node => node.scrollTo(0, 0)")
    lab_page.page.get_by_role("button", name="Load earlier lines").click()
    expect(lines.first).not_to_contain_text(f"line {first} ")
    numbers = [int(text.split()[1]) for text in lines.all_inner_texts()]
    assert numbers == list(range(numbers[0], 10_000))
    while numbers[0] > 0:
        lab_page.page.get_by_role("button", name="Load earlier lines").click()
        expect(lines.first).not_to_contain_text(f"line {numbers[0]} ")
        numbers = [int(text.split()[1]) for text in lines.all_inner_texts()]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert len(numbers) <= 6000
    lab_page.page.get_by_role("button", name="Follow").click()
    expect(lines.last).to_contain_text("line 9999 ")


def test_the_log_goes_on_after_the_server_was_killed_and_started_again(lab_page, lab):
    lab_page.open()
    panel = lab_page.panel()
    lab.submit("train", "orchard", data=["orchard"], max_steps=250)
    panel.get_by_role("button", name="Open the log of orchard").click()
    log = lab_page.page.get_by_role("log")
    expect(log.get_by_text("step 5/")).to_be_visible()
    lab.kill()
    expect(panel.get_by_role("status")).to_have_text("connecting …")
    lab.start()
    expect(lab_page.page.locator(".jp-IlabLog-status")).to_contain_text("Succeeded", timeout=60_000)
    lines = log.locator(".jp-IlabLog-line")
    expect(lines).to_have_count(251)
    texts = lines.all_inner_texts()[1:]
    assert [int(text.split()[1]) for text in texts] == list(range(1, 251))
    expect(panel.get_by_role("status")).to_have_text("live", timeout=60_000)


def test_the_log_goes_on_after_the_server_gave_its_watch_up(lab_page, lab):
    asked = []

    def between(page_side):
        server_side = page_side.connect_to_server()

        def to_server(message):
            ask = json.loads(message)
            if "watch" not in ask:
                server_side.send(message)
                return
            asked.append(ask)
            if len(asked) == 1:
                told = {"job": ask["watch"], "type": "error", "cause": "unavailable"}
                page_side.send(json.dumps({**told, "message": "The disk is slow.", "next_step": ""}))
            else:
                server_side.send(message)

        page_side.on_message(to_server)

    lab_page.page.route_web_socket(re.compile("/ilab/api/stream"), between)
    lab_page.open()
    lab.submit("train", "orchard", data=["orchard"], max_steps=250)
    lab_page.panel().get_by_role("button", name="Open the log of orchard").click()
    status = lab_page.page.locator(".jp-IlabLog-status")
    expect(status).to_contain_text("Succeeded", timeout=60_000)
    expect(lab_page.page.get_by_role("log").locator(".jp-IlabLog-line")).to_have_count(251)
    assert [ask["log_attempt"] for ask in asked] == [1, 1]


def test_a_reload_brings_back_the_panel_and_the_log(lab_page, lab):
    lab_page.open()
    panel = lab_page.panel()
    lab.submit("train", "orchard", data=["orchard"], max_steps=400)
    panel.get_by_role("button", name="Open the log of orchard").click()
    expect(lab_page.page.get_by_role("log").get_by_text("step 5/")).to_be_visible()
    lab_page.reload()
    expect(lab_page.page.locator("#ilab-panel")).to_be_visible()
    expect(lab_page.page.get_by_role("tab", name="Log: orchard")).to_be_visible()
    expect(lab_page.page.get_by_role("log").get_by_text("step 5/")).to_be_attached()


def test_models_and_datasets_are_listed_and_a_dataset_is_read_page_by_page(lab_page, dataset):
    lab_page.open()
    panel = lab_page.panel()
    starter = panel.get_by_role("list", name="Models").get_by_role("listitem", name="starter")
    expect(starter).to_contain_text("parameters")
    expect(starter).to_contain_text("built in")
    orchard = panel.get_by_role("list", name="Datasets").get_by_role("listitem", name="orchard")
    expect(orchard).to_contain_text("45 rows")
    panel.get_by_role("button", name="messages_orchard.jsonl").click()
    view = lab_page.page.locator(".jp-IlabDataset")
    expect(view.get_by_text("rows 1 to 20 of 45")).to_be_visible()
    expect(view.get_by_text("<i>0</i>", exact=True)).to_be_visible()
    lab_page.screenshot("dataset")
    view.get_by_role("button", name="Next").click()
    view.get_by_role("button", name="Next").click()
    expect(view.get_by_text("rows 41 to 45 of 45")).to_be_visible()
    expect(view.get_by_text("Question 44?")).to_be_visible()
    expect(view.get_by_role("button", name="Next")).to_be_disabled()


def test_a_model_is_served_and_stopped_with_two_clicks(lab_page, lab):
    lab_page.open()
    panel = lab_page.panel()
    panel.get_by_role("button", name="Serve starter", exact=True).click()
    served = panel.get_by_role("list", name="Served models").get_by_role("listitem", name="starter")
    expect(served.get_by_text("Ready")).to_be_visible(timeout=30_000)
    expect(panel.get_by_role("button", name="Serve starter", exact=True)).to_be_disabled()
    lab_page.screenshot("panel-served")
    panel.get_by_role("button", name="Stop serving starter").click()
    expect(panel.get_by_text("No model is served")).to_be_visible(timeout=30_000)


def test_the_filter_narrows_the_list_and_older_jobs_are_loaded_on_request(lab_page, lab):
    ids = [lab.submit("train", f"run-{n:02}", data=["orchard"], max_steps=400).id for n in range(53)]
    for id in ids:
        lab.post(f"ilab/api/jobs/{id}/cancel")
    lab_page.open()
    panel = lab_page.panel()
    cards = panel.get_by_role("list", name="Jobs").locator("[data-job]")
    expect(cards).to_have_count(50)
    panel.get_by_role("button", name="Load more").click()
    expect(cards).to_have_count(53)
    expect(panel.get_by_role("button", name="Load more")).to_have_count(0)
    panel.get_by_label("Filter jobs by name").fill("run-07")
    expect(cards).to_have_count(1)
    panel.get_by_label("Filter jobs by name").fill("")
    panel.get_by_label("Filter jobs by state").select_option("succeeded")
    expect(panel.get_by_text("No job matches.")).to_be_visible()


def test_the_panel_is_used_with_the_keyboard_and_the_palette(lab_page, lab):
    lab.submit("train", "orchard", data=["orchard"], max_steps=2)
    lab_page.open()
    page = lab_page.page
    palette = page.locator(".lm-CommandPalette-input")
    while not palette.is_visible():
        # The shortcut is not there yet when the page is.
        page.keyboard.press("Control+Shift+C")
        page.wait_for_timeout(1000)
    palette.fill("Show InstructLab")
    page.keyboard.press("Enter")
    panel = page.locator("#ilab-panel")
    expect(panel).to_be_visible()
    toggle = panel.get_by_role("button", name="Datasets")
    toggle.focus()
    page.keyboard.press("Enter")
    expect(toggle).to_have_attribute("aria-expanded", "false")
    button = panel.get_by_role("button", name="Open the log of orchard")
    button.focus()
    page.keyboard.press("Space")
    expect(page.get_by_role("log")).to_contain_text("worker of train")


def test_the_dark_theme_is_kept(lab_page, lab, dataset):
    lab.settings("@jupyterlab/apputils-extension:themes", theme="JupyterLab Dark")
    lab.submit("train", "doomed", model="broken", data=["orchard"], max_steps=5)
    lab.submit("train", "orchard", data=["orchard"], max_steps=400)
    lab_page.open()
    panel = lab_page.panel()
    expect(panel.get_by_text("Running")).to_be_visible()
    expect(panel.get_by_text("Failed", exact=True)).to_be_visible()
    panel.get_by_role("button", name="Open the log of orchard").click()
    expect(lab_page.page.get_by_role("log").get_by_text("step 5/")).to_be_visible()
    expect(lab_page.page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    background = panel.evaluate("node => getComputedStyle(node).backgroundColor")
    assert max(int(part) for part in re.findall(r"\d+", background)[:3]) < 80
    lab_page.screenshot("panel-dark")


class TestWithoutTheServerHalf:
    @pytest.fixture
    def lab_config(self) -> dict[str, Any]:
        return {"ServerApp": {"jpserver_extensions": {"ilab_jupyter": False}}}

    def test_the_panel_says_what_to_run(self, lab_page):
        lab_page.open()
        panel = lab_page.panel()
        alert = panel.get_by_role("alert")
        expect(alert).to_contain_text("does not have the InstructLab extension")
        expect(alert).to_contain_text("jupyter server extension enable ilab_jupyter")
        expect(panel.get_by_role("button")).to_have_count(1)
        lab_page.screenshot("panel-missing")
