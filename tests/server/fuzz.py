"""Requests made from the OpenAPI document, by schemathesis, against a server in a process of its own.

`python -m tests.server.fuzz` sends about 3,000 requests. All checks are on, but for those in
schemathesis.toml.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.server import TOKEN, JupyterServerProcess

# Says which check is off for which operation, with the reason.
SETTINGS = Path(__file__).with_name("schemathesis.toml")
# The address of the WebSocket: a plain request to it is no operation of the document.
EXCLUDED = ["/ilab/api/stream"]


@dataclass(frozen=True)
class Outcome:
    """What a run found. `cases` is the number of requests that were judged."""

    cases: int
    passed: bool
    report: str


def seed(server: JupyterServerProcess, folder: Path) -> None:
    """A dataset and a job, so that lists and reads have something to answer with."""
    datasets = folder / ".local/share/instructlab/datasets"
    datasets.mkdir(parents=True)
    (datasets / "mine.jsonl").write_text('{"messages": []}\n"\\ud800"\n1e999\n')
    job = {"kind": "train", "arguments": {"data": ["print:hello"]}}
    assert server.http.post("ilab/api/jobs", json=job).status_code == 202


def run(folder: Path, examples: int, phases: str, more: list[str]) -> Outcome:
    """Start a server below `folder` and fuzz it with `examples` requests for each operation and phase."""
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[name]
    server = JupyterServerProcess(folder, "--IlabApp.max_queued_jobs=20")
    server.start()
    try:
        seed(server, folder)
        document = server.http.get("ilab/api/openapi.json").json()
        (folder / "openapi.json").write_text(json.dumps(document))
        command = [
            *(
                str(Path(sys.executable).with_name("schemathesis")),
                "--config-file",
                str(SETTINGS),
                "run",
                str(folder / "openapi.json"),
            ),
            *("--url", str(server.http.base_url).rstrip("/"), "--header", f"Authorization: Bearer {TOKEN}"),
            *("--phases", phases, "--max-examples", str(examples)),
            *("--continue-on-failure", "--generation-database", "none", "--no-color", "--warnings", "off"),
        ]
        for path in EXCLUDED:
            command += ["--exclude-path", path]
        done = subprocess.run([*command, *more], cwd=folder, capture_output=True, text=True, check=False)
        found = re.findall(r"(\d+) generated", done.stdout)
        log = [line for line in server.log.splitlines() if "Traceback" in line]
        return Outcome(
            int(found[-1]) if found else 0, done.returncode == 0 and not log, done.stdout + done.stderr
        )
    finally:
        server.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=42, help="requests for each operation and phase")
    parser.add_argument("--phases", default="examples,coverage,fuzzing")
    options, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="ilab-fuzz-") as folder:
        outcome = run(Path(folder), options.examples, options.phases, more)
    print(outcome.report)
    print(f"{outcome.cases:,} requests, {'no failure' if outcome.passed else 'failures'}")
    return 0 if outcome.passed else 1


if __name__ == "__main__":
    sys.exit(main())
