"""A real `jupyter server` process: what it loads, and what becomes of jobs when it is killed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import JobSpec
from ilab_jupyter.server.routes import ROUTES
from tests.support.server import TOKEN, JupyterServerProcess
from tests.support.waiting import until

pytestmark = pytest.mark.slow

HEAVY = {"torch", "transformers", "datasets", "pandas", "numpy", "peft", "trl", "docling", "matplotlib"}


@pytest.fixture(scope="module")
def shared_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServerProcess]:
    process = JupyterServerProcess(tmp_path_factory.mktemp("served"))
    process.start()
    yield process
    process.kill()


@pytest.fixture
def process(shared_process: JupyterServerProcess) -> Iterator[JupyterServerProcess]:
    """The module's server, running and without live jobs of other tests."""
    if not shared_process.runs:
        shared_process.start()
    yield shared_process
    if shared_process.runs:
        for job in live(shared_process):
            shared_process.http.post(f"ilab/api/jobs/{job['id']}/cancel")
        until(lambda: not live(shared_process))


def live(process: JupyterServerProcess) -> list[Any]:
    states = "QUEUED,STARTING,RUNNING,STOPPING"
    return list(process.http.get(f"ilab/api/jobs?state={states}").json()["jobs"])


def test_idle_server_loads_the_job_engine_once_it_is_needed(tmp_path: Path) -> None:
    process = JupyterServerProcess(tmp_path)
    process.start()

    def loaded() -> set[str]:
        return set(process.http.get("probe/modules").json()["modules"])

    late = {"sqlalchemy", "pydantic", "ilab_jupyter.jobs.local"}
    try:
        time.sleep(1)
        assert "ilab_jupyter.server.monitor" in loaded()
        assert loaded() & {*HEAVY, *late, "ilab_jupyter.server.routes"} == set()
        assert not process.state.exists(), "the state folder was created before it was used"
        # No request names the job that a kernel submits.
        jobs = LocalJobs(process.state, worker_python=str(tmp_path / "quick-python"))
        spec = JobSpec(kind="train", arguments={"data": ["sleep:60"]})
        id = asyncio.run(jobs.submit(spec)).id
        until(lambda: late <= loaded(), seconds=10)
        asyncio.run(jobs.cancel(id))
        jobs.close()
        assert "ilab_jupyter.server.routes" not in loaded()
        assert process.http.get("ilab/api/health").status_code == 200
        assert "ilab_jupyter.server.routes" in loaded()
    finally:
        process.kill()


def test_server_never_loads_a_heavy_library(process: JupyterServerProcess) -> None:
    body = {"kind": "train", "arguments": {"data": ["step:1/1", "print:x"]}}
    id = process.http.post("ilab/api/jobs", json=body).json()["id"]
    model = {"model": "starter", "name": "taught"}
    serving = process.http.post("ilab/api/deployments", json=model).json()["id"]
    until(lambda: process.http.get("ilab/v1/models").json()["data"])
    chat = {"model": "taught", "messages": [{"role": "user", "content": "x"}]}
    for route in ROUTES:
        for verb in route.verbs:
            path = route.path.format(id=id, name="starter", file="swagger-ui.css")
            answered = process.http.request(
                verb, path, json={**chat, "prompt": "x"} if verb == "post" else None
            )
            assert answered.status_code < 500, (verb, path, answered.text)
    for path in ("chat/completions", "completions"):
        sent = chat if "chat" in path else {"model": "taught", "prompt": "x"}
        assert process.http.post(f"ilab/v1/{path}", json=sent).status_code == 200
    id = process.http.post("ilab/api/jobs", json=body).json()["id"]
    for what in ("events", "log"):
        stream = process.http.get(f"ilab/api/jobs/{id}/{what}", headers={"Accept": "text/event-stream"})
        assert "event: end" in stream.text
    process.http.delete(f"ilab/api/deployments/{serving}")
    loaded = process.http.get("probe/modules").json()["modules"]
    assert {"ilab_jupyter", "sqlalchemy", "httpx"} <= set(loaded)
    assert [name for name in loaded if name.partition(".")[0] in HEAVY or "sdg" in name] == []
    assert "Traceback" not in process.log


def test_api_page_renders_and_sends_requests_in_a_browser(process: JupyterServerProcess) -> None:
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{process.http.base_url}ilab/api/docs?token={TOKEN}")
        page.wait_for_selector(".opblock")
        assert page.locator(".opblock").count() == sum(len(route.verbs) for route in ROUTES)
        page.locator(".opblock-summary", has_text="/ilab/api/info").click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        page.wait_for_selector(".live-responses-table tbody .response-col_status")
        assert page.locator(".live-responses-table tbody .response-col_status").first.inner_text() == "200"
        assert complaints == []
        browser.close()


def test_job_survives_killed_server_and_is_adopted(process: JupyterServerProcess) -> None:
    todo = ["mark:begun", "step:1/2", "print:before", "sleep:6", "step:2/2", "print:after", "mark:done"]
    id = process.http.post("ilab/api/jobs", json={"kind": "train", "arguments": {"data": todo}}).json()["id"]
    quick = {"kind": "train", "arguments": {"data": ["sleep:2", "fail:as told"]}}
    waiting = process.http.post("ilab/api/jobs", json=quick).json()["id"]
    until(lambda: process.http.get(f"ilab/api/jobs/{id}").json()["progress"]["step"] == 1)
    before = process.http.get(f"ilab/api/jobs/{id}").json()
    process.kill()
    process.start()
    adopted = process.http.get(f"ilab/api/jobs/{id}").json()
    assert adopted["state"] in ("RUNNING", "SUCCEEDED") and adopted["started_at"] == before["started_at"]
    stream = process.http.get(
        f"ilab/api/jobs/{id}/events?log_offset=0", headers={"Accept": "text/event-stream"}
    )
    assert stream.text.count("event: end") == 1 and "before" in stream.text and "after" in stream.text
    job = process.http.get(f"ilab/api/jobs/{id}").json()
    assert (job["state"], job["attempt"], job["progress"]["step"]) == ("SUCCEEDED", 1, 2)
    marks = process.state / "jobs" / id / "artifacts" / "marks"
    assert marks.read_text() == "begun\ndone\n", "the work was done once"
    # No request concerned the second job: the server itself ran the scheduler.
    ended = until(lambda: (j := process.http.get(f"ilab/api/jobs/{waiting}").json())["ended_at"] and j)
    assert (ended["state"], ended["message"]) == ("FAILED", "as told")


def test_server_adopts_jobs_of_a_killed_one_within_ten_seconds(process: JupyterServerProcess) -> None:
    body = {"kind": "train", "arguments": {"data": ["mark:begun", "sleep:60"]}}
    ids = [process.http.post("ilab/api/jobs", json=body).json()["id"] for _ in range(2)]
    until((process.state / "jobs" / ids[0] / "artifacts" / "marks").exists)
    process.kill()
    record = json.loads((process.state / "jobs" / ids[0] / "attempts" / "1" / "supervisor.json").read_text())
    guardian = Path(f"/proc/{record['pid']}/stat").read_text().rpartition(")")[2].split()[1]
    for pid in (int(guardian), record["pid"]):
        os.kill(pid, signal.SIGKILL)
    process.start()
    started = time.monotonic()

    def states(query: str) -> list[str]:
        # No request: it would make the server look at its jobs.
        with sqlite3.connect(f"file:{process.state}/jobs.db?mode=ro", uri=True) as database:
            return [value for (value,) in database.execute(query)]

    until(lambda: states(f"SELECT state FROM attempt WHERE job = '{ids[0]}' AND n = 1") == ["INTERRUPTED"])
    until(lambda: "RUNNING" in states("SELECT state FROM job"))
    assert time.monotonic() - started < 10
