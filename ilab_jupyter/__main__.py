"""The `ilab-jupyter` command: the demo, a check of this installation, the jobs, and the API's contract."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ilab_jupyter import __version__
from ilab_jupyter.errors import PublicError


def demo(arguments: argparse.Namespace) -> int:
    from ilab_jupyter import demo as main_job
    from ilab_jupyter.client.connect import connect
    from ilab_jupyter.jobs.sync import SyncJobs

    output = Path(arguments.output).absolute()
    figures = main_job.run(SyncJobs(connect()), output=output)
    print(f"\nLook at {output}: loss.png, answers.md, dataset/, model/.")
    lab, notebook = (
        Path(sys.executable).with_name("jupyter"),
        main_job.sample_notebooks() / "quickstart.ipynb",
    )
    print(f"Open the notebook with: {lab} lab {notebook}")
    print(json.dumps(figures))
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    from ilab_jupyter.doctor import examine

    findings = examine()
    for finding in findings:
        print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what}: {finding.detail}")
        if finding.next_step:
            print(f"      {finding.next_step}")
    return 0 if all(finding.ok for finding in findings) else 1


def jobs(arguments: argparse.Namespace) -> int:
    from ilab_jupyter.client.connect import connect
    from ilab_jupyter.jobs.sync import SyncJobs

    for job in SyncJobs(connect()).list(limit=arguments.limit).jobs:
        print(f"{job.id:24} {job.state.value:12} {job.created_at:%Y-%m-%d %H:%M}  {job.name or job.kind}")
    return 0


def openapi(arguments: argparse.Namespace) -> int:
    from ilab_jupyter.server.openapi import document

    print(json.dumps(document(), indent=2, sort_keys=True))
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run one command; a PublicError is one sentence on stderr and exit status 1."""
    parser = argparse.ArgumentParser(prog="ilab-jupyter", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "demo", help="generate, train, serve and ask, with nothing but this machine"
    )
    command.add_argument("--output", default="demo-output", help="folder for what the demo leaves")
    command.set_defaults(run=demo)
    command = commands.add_parser("doctor", help="check this installation")
    command.set_defaults(run=doctor)
    command = commands.add_parser("jobs", help="list the newest jobs")
    command.add_argument("--limit", type=int, default=20)
    command.set_defaults(run=jobs)
    command = commands.add_parser("openapi", help="print the native API's OpenAPI document")
    command.set_defaults(run=openapi)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except PublicError as error:
        print(f"ilab-jupyter: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
