"""The panel in JupyterLab: what a user sees and can do; its logic is tested in labextension/src/__tests__."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from playwright.sync_api import Error as PageError
from playwright.sync_api import Locator, expect

from ilab_jupyter import paths, starter
from ilab_jupyter.client.connect import connect
from ilab_jupyter.client.handle import JobHandle
from ilab_jupyter.jobs.record import Job
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.widgets.job import JobView
from tests.support.interpreter import make_interpreter, worker_of


def row(number: int) -> str:
    """A line of a messages dataset."""
    question = {"role": "user", "content": f"Question {number}?"}
    answer = {"role": "assistant", "content": f"<i>{number}</i>"}
    return json.dumps({"messages": [question, answer]}) + "\n"


@pytest.fixture(scope="module")
def lab_config(own_folders: Path) -> dict[str, Any]:
    """Jobs run in a worker that needs no engine, started as any `worker_python` is."""
    python = make_interpreter(own_folders.with_name("worker-python"))
    return {"IlabApp": {"worker_python": str(python), "slots": {"batch": 2}}}


@pytest.fixture(scope="module", autouse=True)
def dataset(own_folders: Path) -> Path:
    """A dataset of one file with 45 rows, beside a model whose jobs fail."""
    shutil.copytree(starter.FOLDER, paths.models_dir() / "broken")
    folder = paths.datasets_dir() / "orchard"
    folder.mkdir(parents=True)
    file = folder / "messages_orchard.jsonl"
    file.write_text("".join(row(number) for number in range(45)))
    return file


def card_of(panel: Locator, job: Job) -> Locator:
    """The list item of a job."""
    return panel.locator(f'[data-job="{job.id}"]')


def test_panel_shows_new_job_and_its_progress(lab_page, lab):
    lab_page.open()
    panel = lab_page.panel()
    expect(panel.get_by_role("status")).to_have_text("live")
    job = lab.submit("train", "progressing", data=["orchard"], max_steps=400)
    card = card_of(panel, job)
    expect(card.get_by_text("Running")).to_be_visible()
    bar = card.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuemax", "400")
    expect(bar).to_have_attribute("aria-valuenow", re.compile(r"^\d+$"))
    seen = bar.get_attribute("aria-valuenow")
    expect(card.get_by_text(re.compile(r"loss \d"))).to_be_visible()
    expect(card.get_by_text(re.compile("left"))).to_be_visible()
    expect(bar).not_to_have_attribute("aria-valuenow", seen)
    assert int(bar.get_attribute("aria-valuenow")) > int(seen)
    lab_page.screenshot("panel-running")


def test_cancel_stops_job_and_resume_starts_new_attempt(lab_page, lab):
    lab_page.open()
    panel = lab_page.panel()
    job = lab.submit("train", "stopped", data=["orchard"], max_steps=2000)
    card = card_of(panel, job)
    expect(card.get_by_text("Running")).to_be_visible()
    panel.get_by_role("button", name="Cancel stopped").click()
    expect(card.get_by_text("Cancelled", exact=True)).to_be_visible()
    assert lab.job(job.id).state is JobState.CANCELLED
    panel.get_by_role("button", name="Resume stopped").click()
    expect(card.get_by_text("attempt 2")).to_be_visible()
    expect(card.get_by_text("Running")).to_be_visible()
    assert lab.job(job.id).attempt == 2


def test_failure_shows_reason_and_hint(lab_page, lab):
    lab_page.open()
    panel = lab_page.panel()
    job = lab.submit("train", "doomed", model="broken", data=["orchard"], max_steps=5)
    card = card_of(panel, job)
    expect(card.get_by_text("Failed", exact=True)).to_be_visible()
    expect(card.get_by_text("The model folder holds no weights.")).to_be_visible()
    expect(card.get_by_text("Choose another model.")).to_be_visible()
    notification = lab_page.page.locator(".Toastify__toast")
    expect(notification).to_contain_text("doomed: failed.")
    lab_page.screenshot("panel-failed")
    notification.get_by_role("button", name="Open log").click()
    expect(lab_page.page.locator(".jp-IlabLog-status")).to_contain_text("Failed")


def test_queued_job_shows_why_it_waits(lab_page, lab):
    for name in ("first", "second"):
        lab.submit("train", name, data=["orchard"], max_steps=2000)
    waiting = lab.submit("train", "third", data=["orchard"], max_steps=2000)
    lab_page.open()
    card = card_of(lab_page.panel(), waiting)
    expect(card.get_by_text("Queued")).to_be_visible()
    expect(card.locator(".jp-IlabItem-note")).to_have_text(re.compile(r"\w+ \w+"))
    card.get_by_role("button", name="Open the log of third").click()
    status = lab_page.page.locator(".jp-IlabLog-status")
    expect(status).to_contain_text("ahead of it in the queue 'batch'")
    lab_page.screenshot("log-queued")


def test_paused_queue_shows_reason_and_resumes(lab_page, lab):
    lab_page.open()
    panel = lab_page.panel()
    panel.get_by_role("button", name="Pause the queue").click()
    dialog = lab_page.page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("the disk is replaced")
    dialog.get_by_role("button", name="Pause").click()
    expect(panel.get_by_role("status").filter(has_text="The queue is paused by")).to_contain_text(
        "the disk is replaced"
    )
    job = lab.submit("train", "patient", data=["orchard"], max_steps=20)
    card = card_of(panel, job)
    expect(card.locator(".jp-IlabItem-note")).to_contain_text("the disk is replaced. Number 1 in its queue.")
    lab_page.screenshot("panel-paused")
    panel.get_by_role("button", name="Resume the queue").click()
    expect(card.get_by_text("Succeeded", exact=True)).to_be_visible()
    expect(panel.get_by_role("button", name="Pause the queue")).to_be_visible()


def test_log_tab_follows_job_to_its_end(lab_page, lab):
    lab_page.open()
    panel = lab_page.panel()
    job = lab.submit("train", "followed", data=["orchard"], max_steps=120)
    panel.get_by_role("button", name="Open the log of followed").click()
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


def test_long_log_loads_earlier_lines_on_request(lab_page, lab):
    lab.settings("ilab-jupyter:plugin", logLines=2500)
    job = lab.submit("train", "long", data=["orchard"], max_steps=2)
    lab.wait(job.id, lambda job: job.state.ended)
    [log] = (lab.home / "state" / "jobs" / job.id).rglob("*log.txt")
    log.write_text("".join(f"line {n} {'x' * 60}\n" for n in range(10_000)))
    lab_page.open()
    lab_page.panel().get_by_role("button", name="Open the log of long").click()
    lines = lab_page.page.locator(".jp-IlabLog-line")
    expect(lines.last).to_contain_text("line 9999 ")
    expect(lines.last).to_be_in_viewport()
    shown = lines.count()
    assert shown < 2500
    first = int(lines.first.inner_text().split()[1])
    assert first == 10_000 - shown
    lab_page.page.locator(".jp-IlabLog-scroller").evaluate("node => node.scrollTo(0, 0)")
    lab_page.page.get_by_role("button", name="Load earlier lines").click()
    expect(lines.first).not_to_contain_text(f"line {first} ")
    numbers = [int(text.split()[1]) for text in lines.all_inner_texts()]
    assert numbers == list(range(numbers[0], numbers[0] + 2500))
    lab_page.page.get_by_role("button", name="Follow", exact=True).click()
    expect(lines.last).to_contain_text("line 9999 ")
    expect(lines.last).to_be_in_viewport()


def test_reload_restores_panel_and_log(lab_page, lab):
    lab_page.open()
    panel = lab_page.panel()
    job = lab.submit("train", "restored", data=["orchard"], max_steps=2000)
    panel.get_by_role("button", name="Open the log of restored").click()
    expect(lab_page.page.get_by_role("log").get_by_text("step 5/")).to_be_visible()
    lab_page.reload(layout=job.id)
    expect(lab_page.page.locator("#ilab-panel")).to_be_visible()
    expect(lab_page.page.get_by_role("tab", name="Log: restored")).to_be_visible()
    expect(lab_page.page.get_by_role("log").get_by_text("step 5/")).to_be_attached()


def test_panel_lists_models_and_dataset_rows_by_page(lab_page, dataset):
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
    expect(view.get_by_text("rows 21 to 40 of 45")).to_be_visible()
    view.get_by_role("button", name="Next").click()
    expect(view.get_by_text("rows 41 to 45 of 45")).to_be_visible()
    expect(view.get_by_text("Question 44?")).to_be_visible()
    expect(view.get_by_role("button", name="Next")).to_be_disabled()


def test_model_is_served_and_stopped_with_two_clicks(lab_page, lab):
    lab_page.open()
    panel = lab_page.panel()
    expect(panel.get_by_text("No model is served")).to_be_visible()
    panel.get_by_role("button", name="Serve starter", exact=True).click()
    served = panel.get_by_role("list", name="Served models").get_by_role("listitem", name="starter")
    expect(served.get_by_text("Ready")).to_be_visible(timeout=30_000)
    expect(panel.get_by_role("button", name="Serve starter", exact=True)).to_be_disabled()
    lab_page.screenshot("panel-served")
    panel.get_by_role("button", name="Stop serving starter").click()
    expect(panel.get_by_text("No model is served")).to_be_visible(timeout=30_000)


def test_filter_narrows_job_list(lab_page, lab):
    jobs = [lab.submit("train", f"narrow-{n}", data=["orchard"], max_steps=2) for n in range(3)]
    lab_page.open()
    panel = lab_page.panel()
    cards = panel.get_by_role("list", name="Jobs").locator("[data-job]")
    for job in jobs:
        expect(card_of(panel, job)).to_be_visible()
    panel.get_by_label("Filter jobs by name").fill("narrow-")
    expect(cards).to_have_count(3)
    panel.get_by_label("Filter jobs by name").fill("narrow-1")
    expect(cards).to_have_count(1)
    panel.get_by_label("Filter jobs by state").select_option("failed")
    expect(panel.get_by_text("No job matches.")).to_be_visible()


def test_panel_works_with_keyboard_and_palette(lab_page, lab):
    lab.submit("train", "typed", data=["orchard"], max_steps=2)
    lab_page.open()
    page = lab_page.page
    palette = page.locator(".lm-CommandPalette-input")
    panel = page.locator("#ilab-panel")
    for _ in range(10):
        # While the page is still loading, the shortcut is not registered yet, or the palette loses the focus
        # and closes.
        page.keyboard.press("Control+Shift+C")
        with suppress(AssertionError, PageError):
            palette.fill("Show InstructLab", timeout=3000)
            page.keyboard.press("Enter")
            expect(panel).to_be_visible(timeout=3000)
            break
    expect(panel).to_be_visible()
    toggle = panel.get_by_role("button", name="Datasets")
    toggle.focus()
    page.keyboard.press("Enter")
    expect(toggle).to_have_attribute("aria-expanded", "false")
    button = panel.get_by_role("button", name="Open the log of typed")
    button.focus()
    page.keyboard.press("Space")
    expect(page.get_by_role("log")).to_contain_text("worker of train")


def test_panel_follows_dark_theme(lab_page, lab):
    lab.settings("@jupyterlab/apputils-extension:themes", theme="JupyterLab Dark")
    failed = lab.submit("train", "dim", model="broken", data=["orchard"], max_steps=5)
    running = lab.submit("train", "dark", data=["orchard"], max_steps=2000)
    lab_page.open()
    panel = lab_page.panel()
    expect(card_of(panel, running).get_by_text("Running", exact=True)).to_be_visible()
    expect(card_of(panel, failed).get_by_text("Failed", exact=True)).to_be_visible()
    panel.get_by_role("button", name="Open the log of dark").click()
    expect(lab_page.page.get_by_role("log").get_by_text("step 5/")).to_be_visible()
    expect(lab_page.page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    background = panel.evaluate("node => getComputedStyle(node).backgroundColor")
    assert max(int(part) for part in re.findall(r"\d+", background)[:3]) < 80
    lab_page.screenshot("panel-dark")


def test_panel_without_server_extension_shows_commands_to_run(lab_page, lab):
    # The server answers as it does for addresses of extensions that it does not have.
    lab_page.page.route(
        re.compile("/ilab/api/"),
        lambda route: route.continue_(url=route.request.url.replace("/ilab/api/", "/not-installed/api/")),
    )
    lab_page.open()
    panel = lab_page.panel()
    alert = panel.get_by_role("alert")
    expect(alert).to_contain_text("does not have the InstructLab extension")
    expect(alert).to_contain_text("jupyter server extension enable ilab_jupyter")
    expect(panel.get_by_role("button")).to_have_count(1)
    lab_page.screenshot("panel-missing")


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    """An IPython with the magics loaded."""
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "ilab_jupyter")
    yield shell
    shell.run_line_magic("unload_ext", "ilab_jupyter")
    InteractiveShell.clear_instance()


def reports(lab: Any, shell: InteractiveShell, id: str) -> dict[str, tuple[str, int]]:
    """State and step of the job by interface."""
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


def test_all_interfaces_report_same_state_and_progress(lab, lab_page, shell):
    steps = 100
    lab_page.open()
    panel = lab_page.panel()
    job = lab.submit("train", "suspended", data=["orchard"], max_steps=steps)
    lab.wait(job.id, lambda job: job.progress.step > 10)
    worker = worker_of(job.id)
    worker.suspend()
    step = lab.job(job.id).progress.step

    card = card_of(panel, job)
    assert set(reports(lab, shell, job.id).values()) == {("RUNNING", step)}
    expect(card.get_by_text("Running", exact=True)).to_be_visible()
    expect(card.get_by_role("progressbar")).to_have_attribute("aria-valuenow", str(step))

    worker.resume()
    lab.wait(job.id, lambda job: job.state.ended)
    assert set(reports(lab, shell, job.id).values()) == {("SUCCEEDED", steps)}
    expect(card.get_by_text("Succeeded", exact=True)).to_be_visible()
