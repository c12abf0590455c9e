"""The quickstart as a new user runs it: cell by cell in JupyterLab, with real generation and training."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
# The cells between them are explanations.
CODE_CELLS = (1, 3, 5, 7, 9)
ANSWER = "Bluebell burns peat bricks instead of coal."

STREAMING = """
import sys
from openai import OpenAI

client = OpenAI(base_url=sys.argv[1] + "ilab/v1", api_key=sys.argv[2])
messages = [{"role": "user", "content": "What does the engine Bluebell burn?"}]
stream = client.chat.completions.create(model=sys.argv[3], messages=messages, stream=True)
pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
print(len(pieces), "".join(pieces))
"""


def shorten(taxonomy: Path) -> None:
    """Leave one paragraph of the document, and no skills: a model learns that in a fraction of the steps."""
    shutil.rmtree(taxonomy / "compositional_skills")
    document = taxonomy / "documents" / "brindle_fell" / "railway.md"
    [paragraph] = [part for part in document.read_text().split("\n\n") if ANSWER in part]
    document.write_text(f"# The engines\n\n{paragraph}\n")


@pytest.fixture
def quickstart(lab, lab_page):
    """The page with the notebook open and its kernel idle."""
    shutil.copytree(NOTEBOOKS, lab.root, dirs_exist_ok=True)
    shorten(lab.root / "taxonomy")
    lab_page.page.set_viewport_size({"width": 1440, "height": 900})
    lab_page.open_notebook("quickstart.ipynb")
    return lab_page


@pytest.mark.timeout(1200)
def test_quickstart_teaches_model_that_openai_client_can_query(lab, quickstart):
    load, generate, train, serve, chat = CODE_CELLS
    panel = quickstart.panel()
    quickstart.run_cell(load)
    expect(quickstart.run_cell(generate, timeout=300)).to_contain_text("SUCCEEDED", ignore_case=True)

    quickstart.start_cell(train)
    training = quickstart.cell(train)
    expect(training.get_by_role("progressbar").first).to_be_visible(timeout=60_000)
    job = lab.get("ilab/api/jobs")["jobs"][0]
    lab.wait(job["id"], lambda job: job.state.ended or job.progress.step > 20, timeout=400)
    training.scroll_into_view_if_needed()
    expect(training.get_by_role("img", name=re.compile("^Loss ")).first).to_be_visible()
    quickstart.screenshot("quickstart-training")
    expect(quickstart.finish_cell(train, timeout=400)).to_contain_text("SUCCEEDED", ignore_case=True)

    quickstart.run_cell(serve)
    expect(quickstart.run_cell(chat)).to_contain_text(ANSWER)
    expect(panel).to_contain_text(re.compile("succeeded", re.IGNORECASE))
    expect(panel.get_by_role("list", name="Served models").get_by_text("Ready")).to_be_visible()
    quickstart.screenshot("quickstart-done")

    model = lab.job(job["id"]).result["model"]
    assert {entry["name"] for entry in lab.get("ilab/api/models")["models"]} == {"starter", model}
    completed = subprocess.run(
        [sys.executable, "-c", STREAMING, lab.url, lab.token, model],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    pieces, answer = completed.stdout.strip().split(" ", 1)
    assert int(pieces) > 3
    assert answer == ANSWER

    quickstart.save()
    saved = json.loads((lab.root / "quickstart.ipynb").read_text())
    outputs = saved["cells"][train]["outputs"]
    stored = {mime for output in outputs for mime in output.get("data", {})}
    assert {"text/html", "image/png"} <= stored
    assert not any("widget" in mime for mime in stored), "a stored widget shows only an error later"
