"""The quickstart as a new user runs it: cell by cell, in a real JupyterLab, on the real engine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
CODE_CELLS = (1, 3, 5, 7, 9)
"""Between them stand the explanations."""

STREAMING = """
import sys
from openai import OpenAI

client = OpenAI(base_url=sys.argv[1] + "ilab/v1", api_key=sys.argv[2])
messages = [{"role": "user", "content": "What does the engine Bluebell burn?"}]
stream = client.chat.completions.create(model=sys.argv[3], messages=messages, stream=True)
pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
print(len(pieces), "".join(pieces))
"""


@pytest.fixture
def quickstart(lab, lab_page):
    """The page with the notebook open and its kernel idle."""
    shutil.copytree(NOTEBOOKS, lab.root, dirs_exist_ok=True)
    lab_page.page.set_viewport_size({"width": 1440, "height": 900})
    lab_page.open_notebook("quickstart.ipynb")
    return lab_page


@pytest.mark.timeout(1200)
def test_the_quickstart_teaches_a_model_in_five_cells_and_any_openai_client_can_ask_it(lab, quickstart):
    load, generate, train, serve, chat = CODE_CELLS
    panel = quickstart.panel()
    quickstart.run_cell(load)
    expect(quickstart.run_cell(generate, timeout=300)).to_contain_text("SUCCEEDED", ignore_case=True)

    quickstart.start_cell(train)
    training = quickstart.cell(train)
    expect(training.get_by_role("progressbar").first).to_be_visible(timeout=60_000)
    job = lab.get("ilab/api/jobs")["jobs"][0]
    lab.wait(job["id"], lambda job: job.state.ended or job.progress.step > 100, timeout=400)
    training.scroll_into_view_if_needed()
    quickstart.page.wait_for_timeout(1500)
    quickstart.screenshot("quickstart-training")
    expect(quickstart.finish_cell(train, timeout=400)).to_contain_text("SUCCEEDED", ignore_case=True)

    quickstart.run_cell(serve)
    expect(quickstart.run_cell(chat)).to_contain_text("Bluebell burns peat bricks instead of coal.")
    expect(panel).to_contain_text(re.compile("succeeded", re.IGNORECASE))
    expect(panel.get_by_role("list", name="Served models").get_by_text("Ready")).to_be_visible()
    quickstart.screenshot("quickstart-done")

    model = lab.job(job["id"]).result["model"]
    assert {entry["name"] for entry in lab.get("ilab/api/models")["models"]} == {"starter", model}
    asked = subprocess.run(
        [sys.executable, "-c", STREAMING, lab.url, lab.token, model],
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    pieces, answer = asked.stdout.strip().split(" ", 1)
    assert int(pieces) > 3
    assert answer == "Bluebell burns peat bricks instead of coal."

    quickstart.save()
    saved = json.loads((lab.root / "quickstart.ipynb").read_text())
    outputs = saved["cells"][train]["outputs"]
    stored = {mime for output in outputs for mime in output.get("data", {})}
    assert {"text/html", "image/png"} <= stored
    assert not any("widget" in mime for mime in stored), "a stored widget shows only an error later"


@pytest.mark.timeout(900)
def test_a_training_survives_the_page_the_kernel_and_the_server(lab, lab_page):
    """Close the page, restart the kernel, kill -9 the server, start it again: one training, all of it."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Word {n}?"},
                {"role": "assistant", "content": f"Answer {n}."},
            ]
        }
        for n in range(40)
    ]
    (lab.root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_notebook(
        lab.root / "survival.ipynb", "%load_ext ilab_jupyter", "%ilab train rows.jsonl --max-steps 250"
    )
    lab_page.open_notebook("survival.ipynb")
    lab_page.run_cell(0)
    lab_page.run_cell(1)
    id = lab.get("ilab/api/jobs")["jobs"][0]["id"]
    before = lab.wait(
        id, lambda job: job.progress.phase == "training" and job.progress.step >= 5, timeout=240
    )

    lab_page.page.goto("about:blank")
    for kernel in lab.get("api/kernels"):
        lab.post(f"api/kernels/{kernel['id']}/restart")
    lab.kill()
    time.sleep(1)
    lab.start()

    after = lab.job(id)
    assert after.state.value in ("RUNNING", "SUCCEEDED")
    assert after.attempt == 1
    assert after.state.ended or after.progress.step >= before.progress.step
    write_notebook(lab.root / "later.ipynb", "%load_ext ilab_jupyter", f"%ilab attach {id} --wait")
    lab_page.open_notebook("later.ipynb")
    lab_page.run_cell(0)
    output = lab_page.run_cell(1, timeout=400)
    expect(output).to_contain_text("SUCCEEDED", ignore_case=True)
    lab_page.screenshot("attached-after-kill")

    job = lab.job(id)
    assert job.state.value == "SUCCEEDED"
    assert job.result["steps"] == 250
    events = lab.get(f"ilab/api/jobs/{id}/events?limit=1000")["events"]
    steps = [
        event["step"] for event in events if event["type"] == "progress" and event["phase"] == "training"
    ]
    assert steps == sorted(set(steps)), "a step was trained twice"
    assert steps[-1] == 250
    assert len([event for event in events if event["type"] == "phase" and event["name"] == "training"]) == 1
    log = lab.get(f"ilab/api/jobs/{id}/log?limit=1000000")
    assert log["offset"] == 0
    assert log["ended"]
    assert log["next_offset"] == log["size"] > 0


def write_notebook(path: Path, *sources: str) -> None:
    """A notebook with these code cells."""
    cells = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"cell-{n}",
            "metadata": {},
            "outputs": [],
            "source": source,
        }
        for n, source in enumerate(sources)
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    path.write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
