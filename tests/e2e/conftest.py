"""One JupyterLab for each module, in its own process, and a Chromium with a new page for each test."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from playwright.sync_api import Error as PageError

from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import Job, JobFilter
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs
from tests.support.folders import use_home
from tests.support.waiting import until

CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
]
ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "test-output"
# A busy machine is slow, and what is waited for comes or does not.
expect.set_options(timeout=20_000)
NOT_ENDED = tuple(state for state in JobState if not state.ended)


class NotRun(Exception):
    """A cell was taken, and no kernel has run it."""


@dataclass
class Lab:
    """A JupyterLab server with its own folders; it may be killed and started again on the same ones."""

    home: Path
    root: Path
    config: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    killed: bool = False

    @property
    def url(self) -> str:
        """The server's base URL, with a slash at its end."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def log(self) -> str:
        """What the server has printed."""
        return (self.home / "lab.log").read_text(errors="replace")

    @property
    def environment(self) -> dict[str, str]:
        """The server's environment; HOME, XDG and state folders are those of the module."""
        names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
        folders = {name: str(self.home / name.lower()) for name in names}
        return {**os.environ, **folders, "JUPYTER_NO_CONFIG": "", **self.variables}

    @property
    def running(self) -> bool:
        """Whether the server's process has not ended."""
        return self.process is not None and self.process.poll() is None

    def settings(self, plugin: str, **values: Any) -> Path:
        """Write the user's settings of a JupyterLab plugin; pages read them when they are loaded."""
        package, _, name = plugin.rpartition(":")
        path = self.user_settings / package / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
        return path

    @property
    def user_settings(self) -> Path:
        return self.home / "jupyter_config_dir" / "lab" / "user-settings"

    def reset(self) -> None:
        """End all jobs and kernels, start jobs again and forget the user's settings."""
        self.killed = False
        self.end_jobs()
        if self.get("ilab/api/queue")["paused"]:
            self.post("ilab/api/queue/unpause")
        for session in self.get("api/sessions"):
            self.delete(f"api/sessions/{session['id']}")
        shutil.rmtree(self.user_settings, ignore_errors=True)
        # A dialog about news would cover a corner of the page.
        self.settings("@jupyterlab/apputils-extension:notification", fetchNews="false", checkForUpdates=False)

    def start(self, timeout: float = 60) -> None:
        """Start the server and wait until it answers; the first time on a free port, then on the same one."""
        if self.port == 0:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
        # No page has the server run Node.js to look for extensions that are to be built.
        page_config = self.home / "jupyter_config_dir" / "labconfig" / "page_config.json"
        page_config.parent.mkdir(parents=True, exist_ok=True)
        page_config.write_text(json.dumps({"buildAvailable": False, "buildCheck": False}))
        config = self.home / "lab_config.json"
        config.write_text(json.dumps(self.config))
        command = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--config={config}"),
            *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0"),
            f"--IdentityProvider.token={self.token}",
            f"--ServerApp.root_dir={self.root}",
        ]
        with (self.home / "lab.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.root, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.get("api/status")
                return
            except (urllib.error.URLError, ConnectionError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"JupyterLab did not start:\n{self.log}") from None
                time.sleep(0.1)

    def kill(self) -> None:
        """The server dies at once, as with kill -9."""
        assert self.process is not None
        self.killed = True
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """The server ends in an orderly way."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def get(self, path: str) -> Any:
        """The JSON at `path` below the base URL."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"token {self.token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any = None) -> Any:
        """Send JSON, get JSON."""
        request = urllib.request.Request(
            self.url + path,
            data=json.dumps(body if body is not None else {}).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def delete(self, path: str) -> None:
        """Send a DELETE request."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, headers=headers, method="DELETE")
        urllib.request.urlopen(request, timeout=30).close()

    def submit(self, kind: str, name: str = "", **arguments: Any) -> Job:
        """A job, submitted over HTTP."""
        body = {"kind": kind, "name": name, "arguments": arguments}
        return Job.model_validate(self.post("ilab/api/jobs", body))

    def job(self, id: str) -> Job:
        """The job as the server tells it."""
        return Job.model_validate(self.get(f"ilab/api/jobs/{id}"))

    def wait(self, id: str, until: Callable[[Job], bool], timeout: float = 60) -> Job:
        """The job as soon as `until` holds for it."""
        deadline = time.monotonic() + timeout
        while not until(job := self.job(id)):
            assert time.monotonic() < deadline, f"still {job.state}: {job}"
            time.sleep(0.1)
        return job

    def end_jobs(self) -> None:
        """Jobs outlive servers; they must not outlive a test."""
        jobs = LocalJobs()
        jobs.configure(grace_seconds=1)
        service = SyncJobs(jobs)
        deadline = time.monotonic() + 30
        while live := service.list(JobFilter(states=NOT_ENDED)).jobs:
            for job in live:
                service.cancel(job.id)
            jobs.turn()
            assert time.monotonic() < deadline, f"cannot be ended: {live}"
            time.sleep(0.2)
        jobs.close()


@dataclass
class LabPage:
    """A browser's page on a Lab: notebooks, cells, and what went wrong in the page."""

    page: Page
    lab: Lab
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, path: str = "", *, reset: bool = True) -> None:
        """Open JupyterLab; `reset` forgets the layout of an earlier page."""
        where = f"lab/tree/{path}" if path else "lab"
        self.page.goto(f"{self.lab.url}{where}?token={self.lab.token}{'&reset' if reset else ''}")
        self.page.wait_for_selector("#jp-main-dock-panel", timeout=60_000)
        self.page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=60_000)

    def reload(self, layout: str) -> None:
        """Load the page again without resetting it, once the saved layout has `layout` in it."""
        until(
            lambda: layout in json.dumps(self.lab.get("lab/api/workspaces/default")),
            what=f"the saved layout to have {layout}",
        )
        self.page.goto(f"{self.lab.url}lab")
        self.page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=60_000)

    def open_notebook(self, name: str) -> None:
        """Open a notebook of the root folder and wait until its kernel is idle."""
        self.open(name)
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        self.wait_idle()

    def wait_idle(self, timeout: float = 60) -> None:
        """Wait until the kernel does nothing. A cell that is run before is lost."""
        selector = '.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook-ExecutionIndicator[data-status="idle"]'
        self.page.wait_for_selector(selector, state="attached", timeout=timeout * 1000)
        # It says idle a moment before the kernel's connection takes a cell.
        self.page.wait_for_timeout(1000)

    def cell(self, index: int) -> Locator:
        """A cell of the notebook on top."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell").nth(index)

    def start_cell(self, index: int) -> None:
        """Run a code cell and do not wait."""
        cell = self.cell(index)
        prompt = cell.locator(".jp-InputPrompt")
        new = prompt.inner_text().strip() == "[ ]:"
        dialog = self.page.locator(".jp-Dialog")
        for _ in range(5):
            if dialog.count():
                # A page that is quicker than its server asks for the kernel; no other question is answered.
                expect(dialog.first).to_contain_text("Select Kernel")
                dialog.first.locator("button.jp-mod-accept").click()
            try:
                cell.scroll_into_view_if_needed(timeout=6000)
                cell.locator(".jp-InputArea-editor").click(timeout=6000)
                self.page.keyboard.press("Control+Enter")
                if new:
                    expect(prompt).not_to_have_text("[ ]:", timeout=6000)
                return
            except (AssertionError, PageError):  # a dialog, drawn anew, or no connection to the kernel yet
                continue
        raise AssertionError("The notebook takes no cell.")

    def finish_cell(self, index: int, timeout: float = 120) -> Locator:
        """Wait until a cell that was started is done, and give its output area."""
        cell = self.cell(index)
        prompt = cell.locator(".jp-InputPrompt")
        # [*] while it runs, [1] when it is done, and [ ] where the kernel that was asked has gone
        expect(prompt).to_have_text(re.compile(r"\[(\d+| )\]:?"), timeout=timeout * 1000)
        if prompt.inner_text().strip() == "[ ]:":
            raise NotRun(f"Cell {index} has not run.")
        return cell.locator(".jp-OutputArea")

    def run_cell(self, index: int, timeout: float = 120) -> Locator:
        """Run a code cell, wait until it is done, and give its output area."""
        for _ in range(3):
            self.start_cell(index)
            with suppress(NotRun):
                return self.finish_cell(index, timeout)
        raise NotRun(f"The notebook takes cell {index} and does not run it.")

    def save(self) -> None:
        """Save the notebook on top and wait until the server has it."""
        self.page.keyboard.press("Escape")
        with self.page.expect_response(
            lambda response: response.request.method == "PUT" and "/api/contents/" in response.url
        ) as saved:
            self.page.keyboard.press("Control+s")
        assert saved.value.ok

    def panel(self) -> Locator:
        """The InstructLab panel, opened."""
        tab = self.page.locator('li.lm-TabBar-tab[data-id="ilab-panel"]')
        tab.wait_for(timeout=30_000)
        if "lm-mod-current" not in (tab.get_attribute("class") or ""):
            tab.click()
        panel = self.page.locator("#ilab-panel")
        expect(panel).to_be_visible()
        return panel

    def screenshot(self, name: str) -> Path:
        """A picture of the page in test-output/, to be looked at by a person."""
        SCREENSHOTS.mkdir(exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path)
        return path


@pytest.fixture(scope="module", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """HOME, XDG and the job engine's state below a folder of this module: its tests share a JupyterLab."""
    home = tmp_path_factory.mktemp("lab") / "home"
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_home(home, monkeypatch)
        yield home


@pytest.fixture(scope="module")
def lab_config() -> dict[str, Any]:
    """The server's configuration; a test module may have its own."""
    return {}


@pytest.fixture(scope="module")
def lab_variables() -> dict[str, str]:
    """Environment variables of the server and its kernels; a test module may have its own."""
    return {}


@pytest.fixture(scope="module")
def module_lab(own_folders: Path, lab_config: dict[str, Any], lab_variables: dict[str, str]) -> Iterator[Lab]:
    """The JupyterLab of this module."""
    root = own_folders.with_name("root")
    root.mkdir()
    lab = Lab(home=own_folders, root=root, config=lab_config, variables=lab_variables)
    yield lab
    lab.stop()
    lab.end_jobs()


@pytest.fixture
def lab(module_lab: Lab) -> Iterator[Lab]:
    """The module's JupyterLab, running, without live jobs, kernels and settings of an earlier test."""
    if not module_lab.running:
        module_lab.start()
    module_lab.reset()
    yield module_lab
    module_lab.end_jobs()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium: $CHROMIUM, or the one on PATH.

    Of one module, because an open playwright keeps an event loop running in this thread.
    """
    chosen = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chosen is None:
        pytest.fail("The browser tests need Chromium: install it, or set CHROMIUM to its path.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chosen, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page without cookies or history."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(20_000)
    yield page
    context.close()


@pytest.fixture
def lab_page(page: Page, lab: Lab) -> Iterator[LabPage]:
    """The page on the lab; an exception in the page fails the test."""
    lab_page = LabPage(page, lab)
    yield lab_page
    # JupyterLab's own polls do not handle a server that is gone.
    expected = {"Failed to fetch"} if lab.killed else set()
    assert [error for error in lab_page.errors if error not in expected] == []
