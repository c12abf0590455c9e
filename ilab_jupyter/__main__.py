"""The `ilab-jupyter` command: the demo, a check, the jobs with backup and restore, the API's contract."""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import datetime
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
        if finding.hint:
            print(f"      {finding.hint}")
    return 0 if all(finding.ok for finding in findings) else 1


def jobs(arguments: argparse.Namespace) -> int:
    from ilab_jupyter.client.connect import connect
    from ilab_jupyter.jobs.sync import SyncJobs

    for job in SyncJobs(connect()).list(limit=arguments.limit).jobs:
        print(f"{job.id:24} {job.state.value:12} {job.created_at:%Y-%m-%d %H:%M}  {job.name or job.kind}")
    return 0


def backup(arguments: argparse.Namespace) -> int:
    from ilab_jupyter import paths
    from ilab_jupyter.jobs.backup.create import create_backup
    from ilab_jupyter.jobs.folder import StateFolder

    state = StateFolder((arguments.state or paths.state_dir()).absolute())
    taken = create_backup(state, arguments.file.absolute(), artifacts=not arguments.without_artifacts)
    when = datetime.fromtimestamp(taken.as_of).astimezone()
    print(f"{taken.jobs} jobs ({taken.live} live, {taken.queued} queued) as of {when:%Y-%m-%d %H:%M:%S %Z}")
    print(f"{taken.files} files, {taken.bytes / 1e6:,.1f} MB, in {arguments.file}")
    for name in taken.left_out:
        print(f"left out: {name}", file=sys.stderr)
    return 0


def restore(arguments: argparse.Namespace) -> int:
    import getpass

    from ilab_jupyter.jobs.backup.restore import restore_backup
    from ilab_jupyter.jobs.folder import StateFolder

    done = restore_backup(StateFolder(arguments.state.absolute()), arguments.file, actor=getpass.getuser())
    when = datetime.fromtimestamp(done.as_of).astimezone()
    print(f"{done.jobs} jobs as of {when:%Y-%m-%d %H:%M:%S %Z} are in {done.path}")
    print(f"{done.files} files, {done.bytes / 1e6:,.1f} MB, in {done.seconds:.1f} s, each checked")
    if done.interrupted:
        print(f"{done.interrupted} were running then and are INTERRUPTED: `%ilab resume` continues each")
    if done.queued:
        print(f"{done.queued} wait in the queue and start with the next server or notebook on this folder")
    return 0


def prune(arguments: argparse.Namespace) -> int:
    import asyncio

    from ilab_jupyter.client.connect import connect
    from ilab_jupyter.jobs.local import LocalJobs

    service = connect()
    bounds = {"days": arguments.days, "keep_bytes": arguments.keep}
    done = asyncio.run(service.prune(**bounds, dry_run=arguments.dry_run))
    verb = "would be removed" if arguments.dry_run else "removed"
    print(f"{done.attempts} logs, {done.bytes / 1e6:,.1f} MB, {verb}")
    if isinstance(service, LocalJobs):
        for name in asyncio.run(service.orphans()):
            print(f"left alone: {service.state.job(name).path} belongs to no job", file=sys.stderr)
    return 0


def size(text: str) -> int:
    """Bytes from `10GB`, `500 MB` or `1000`."""
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?B?)", text.strip().upper())
    if found is None or found[2] not in units:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 10GB")
    return int(float(found[1]) * units[found[2]])


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
    command = commands.add_parser("prune", help="remove logs of ended jobs")
    command.add_argument("--days", type=float, help="those that ended more than so many days ago")
    command.add_argument("--keep", type=size, metavar="SIZE", help="then the oldest, until so much is left")
    command.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    command.set_defaults(run=prune)
    command = commands.add_parser("backup", help="copy all jobs into one file, while they run")
    command.add_argument("file", type=Path, help="such as jobs.tar.gz; must not exist")
    command.add_argument("--state", type=Path, help="the state folder (default: the one in use)")
    command.add_argument("--without-artifacts", action="store_true", help="rows, logs and events alone")
    command.set_defaults(run=backup)
    command = commands.add_parser("restore", help="put a backup into an empty state folder")
    command.add_argument("file", type=Path, help="what backup has written")
    command.add_argument("--state", type=Path, required=True, help="the new state folder")
    command.set_defaults(run=restore)
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
