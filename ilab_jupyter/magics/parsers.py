"""The parsers of all commands."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping

from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.kinds.catalog import KINDS
from ilab_jupyter.magics import job_arguments, removal, workspace
from ilab_jupyter.magics.arguments import Parser
from ilab_jupyter.magics.help import COMMANDS
from ilab_jupyter.registry.entries import DatasetRow

SAMPLING: dict[str, tuple[Callable[[str], float], str]] = {
    "temperature": (float, "0.7"),
    "max_tokens": (int, "256"),
}
QUEUE_ACTIONS = ("pause", "resume", "first")
ACTIONS = {
    "queue": QUEUE_ACTIONS,
    "config": workspace.CONFIG_ACTIONS,
    "taxonomy": workspace.TAXONOMY_ACTIONS,
}
ID_HELP = "Job id, a unique prefix of one, or the job's name."


def build_parser(command: str) -> Parser:
    """The parser of a command in COMMANDS."""
    parser = Parser(command, COMMANDS[command])
    if command in KINDS:
        job_arguments.add_arguments(parser, KINDS[command])
    else:
        _ADD[command](parser)
    if command != "logs":
        parser.add_output()
    return parser


def sampling(options: Mapping[str, str]) -> dict[str, float]:
    """`--temperature` and `--max-tokens` as numbers, where given; InvalidInput."""
    return {name: _sampling(name, options[name]) for name in SAMPLING if name in options}


def _sampling(name: str, text: str) -> float:
    kind, example = SAMPLING[name]
    try:
        value = kind(text)
        if math.isfinite(value):
            return value
    except ValueError:
        pass
    what = "a whole number" if kind is int else "a number"
    raise InvalidInput(
        f"`--{name.replace('_', '-')}` must be {what} such as {example}, not {text[:40]!r}.",
        "See `%ilab chat?`.",
    )


def brief(row: DatasetRow, length: int = 300) -> str:
    """A row of a dataset for a table: its messages as a conversation, or its fields as JSON."""
    content = row.value if row.value is not None else row.problem
    messages = content.get("messages") if isinstance(content, dict) else None
    if isinstance(messages, list) and all(isinstance(message, dict) for message in messages):
        text = " | ".join(f"{message.get('role')}: {message.get('content')}" for message in messages)
    else:
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _chat(parser: Parser) -> None:
    parser.usage = "%(prog)s MODEL QUESTION... [OPTIONS]"
    parser.add_argument("--system", metavar="TEXT", help="System prompt.")
    parser.add_argument("--temperature", default=argparse.SUPPRESS, metavar="X", help="0 to 2.")
    parser.add_argument(
        "--max-tokens",
        dest="max_tokens",
        default=argparse.SUPPRESS,
        metavar="N",
        help="Maximum number of tokens of the answer.",
    )
    parser.add_argument("--keep", action="store_true", help="Continue the conversation with this model.")


def _jobs(parser: Parser) -> None:
    parser.add_argument("text", nargs="?", metavar="TEXT", help="Part of an id or a name.")
    parser.add_argument("--state", action="append", choices=[state.value for state in JobState])
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument(
        "--limit", default="20", metavar="N", help="Number of jobs, newest first. Default: 20."
    )


def _logs(parser: Parser) -> None:
    parser.add_argument("id", nargs="?", metavar="ID", help=f"{ID_HELP} The newest job where none is given.")
    parser.add_argument("--tail", metavar="N", help="Only the last N lines.")
    parser.add_argument("--follow", action="store_true", help="Print new lines until the job ends.")
    parser.add_argument("--search", metavar="TEXT", help="Only lines that contain this text, ignoring case.")
    parser.add_argument("--regex", action="store_true", help="Read the search text as a regular expression.")


def _attempts(parser: Parser) -> None:
    parser.add_argument("id", nargs="?", metavar="ID", help=f"{ID_HELP} The newest job where none is given.")


def _queue(parser: Parser) -> None:
    parser.usage = "%(prog)s [pause [REASON...] | resume | first ID [--before ID2]]"
    parser.add_argument("action", nargs="?", choices=list(QUEUE_ACTIONS), help="None: show the queue.")
    parser.add_argument("words", nargs="*", metavar="REASON or ID")
    parser.add_argument("--before", metavar="ID2", help="Waiting job to move the other one before.")


def _prune(parser: Parser) -> None:
    parser.add_argument("--days", metavar="N", help="Logs of attempts that ended more than N days ago.")
    parser.add_argument(
        "--keep-bytes",
        dest="keep_bytes",
        metavar="N",
        help="Keep at most N bytes of logs; remove the oldest.",
    )
    parser.add_argument(
        "--dry-run", dest="dry_run", action="store_true", help="Only show what would be removed."
    )


def _cancel(parser: Parser) -> None:
    parser.add_argument("id", metavar="ID", help=ID_HELP)


def _resume(parser: Parser) -> None:
    parser.add_argument("id", metavar="ID", help=ID_HELP)
    parser.add_wait("Wait for the end.")


def _attach(parser: Parser) -> None:
    parser.add_argument("id", nargs="?", metavar="ID", help=f"{ID_HELP} The newest job where none is given.")
    parser.add_wait("Wait for the end.")


def _remove(parser: Parser) -> None:
    parser.usage = "%(prog)s model|dataset|job NAME [--yes]"
    parser.add_argument("kind", choices=list(removal.KINDS), metavar="KIND", help="model, dataset or job.")
    parser.add_argument("name", metavar="NAME", help="Name as the lists show it; for a job also its id.")
    parser.add_argument("--yes", action="store_true", help="Remove without confirmation.")


def _data(parser: Parser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="Dataset whose rows to show.")
    parser.add_argument(
        "--file",
        metavar="NAME",
        help="File of the dataset; messages_*.jsonl or its first where none is given.",
    )
    parser.add_argument("--rows", default="5", metavar="N", help="Number of rows. Default: 5.")


def _demo(parser: Parser) -> None:
    parser.add_argument("--output", default="demo-output", metavar="FOLDER", help="Default: demo-output.")


def _nothing(parser: Parser) -> None:
    """The command has no arguments."""


_ADD: dict[str, Callable[[Parser], None]] = {
    "chat": _chat,
    "jobs": _jobs,
    "logs": _logs,
    "attempts": _attempts,
    "queue": _queue,
    "prune": _prune,
    "cancel": _cancel,
    "resume": _resume,
    "attach": _attach,
    "remove": _remove,
    "models": _nothing,
    "data": _data,
    "config": workspace.add_config,
    "taxonomy": workspace.add_taxonomy,
    "system": _nothing,
    "demo": _demo,
}
