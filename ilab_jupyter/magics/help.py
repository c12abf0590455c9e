"""The manual of `%ilab`: the overview that `%ilab?` shows, and `%ilab train?` for a command's own."""

from __future__ import annotations

import re

from ilab_jupyter.kinds.catalog import KINDS

COMMANDS: dict[str, str] = {
    **{kind.name: kind.summary for kind in KINDS.values()},
    "chat": "Send a prompt to a served model and stream the answer as text.",
    "jobs": "List jobs.",
    "logs": "Print or search a job's log.",
    "attempts": "Show a job's attempts and how each ended.",
    "queue": "Show running and waiting jobs; pause, resume, put a job first.",
    "prune": "Remove the logs of jobs that ended long ago.",
    "cancel": "Request a job to stop; it saves a checkpoint first where it can.",
    "resume": "Continue an ended job from its last checkpoint.",
    "attach": "Show a live view of a job, also after a restart.",
    "remove": "Remove a model, a dataset or an ended job from disk.",
    "models": "List models.",
    "data": "List datasets, or show the rows of one.",
    "config": "Show InstructLab's configuration, create it for this machine, change a value.",
    "taxonomy": "Show a taxonomy, its changes and its errors, or create one.",
    "system": "Show this machine's hardware and libraries.",
    "demo": "Run the whole workflow on the sample taxonomy.",
}

_HELP = re.compile(r"(\s*)%ilab[ \t]+([\w-]+)[ \t]*\?{1,2}\s*")
_CHAT = re.compile(r"(\s*)%ilab[ \t]+(chat\b.*\?)\s*")


def overview() -> str:
    """The text of `%ilab?`."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return f"""InstructLab from a cell: each command is a job that goes on without the notebook.

{commands}

`%ilab COMMAND?` or `%ilab COMMAND --help` shows a command's arguments.

    job = %ilab generate taxonomy
    %ilab train --name my-model --wait
    %ilab serve my-model --wait
    %ilab chat my-model What have you been taught?

A command returns at once and gives the job; `--wait` waits for its end. Closing the notebook, restarting
the kernel or stopping the server does not end a job: `%ilab attach ID` shows it again, whole.
`-o NAME` stores what a command gives in a variable, and {{NAME}} or $NAME in the line puts one in.
A job is named by its id, by a unique beginning of it, or by its name.

With arguments in the cell, as YAML:

    %%ilab train --name my-model
    data: [my-data.jsonl]
    method: lora
    epochs: 3
"""


def question_marks(lines: list[str]) -> list[str]:
    """An input transformer for lines that end in a question mark, which IPython reads as a call for help.

    `%ilab train?` asks about the command, not about a Python name `train`; and a question to a model is no
    call for help at all.
    """
    return [_meant(line) for line in lines]


def _meant(line: str) -> str:
    if (asked := _HELP.fullmatch(line)) and asked[2] in COMMANDS:
        return f"{asked[1]}%ilab {asked[2]} --help\n"
    if question := _CHAT.fullmatch(line):
        return f"{question[1]}get_ipython().run_line_magic('ilab', {question[2]!r})\n"
    return line
