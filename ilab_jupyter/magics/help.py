"""Help texts: the overview of `%ilab?`, and the input transformer behind `%ilab train?`."""

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
    first, *_, last = KINDS
    return f"""InstructLab in a cell. `{first}` to `{last}` start jobs that run without the notebook.

{commands}

`%ilab COMMAND?` or `%ilab COMMAND --help` shows a command's arguments.

    job = %ilab generate taxonomy
    %ilab train --name my-model --wait
    %ilab serve my-model --wait
    %ilab chat my-model What do you know?

A command that starts a job returns it immediately; `--wait` waits for its end. Closing the notebook,
restarting the kernel or stopping the server does not end a job: `%ilab attach ID` shows it again.
`-o NAME` stores the result of a command in a variable; {{NAME}} or $NAME inserts a variable in the line.
A job is selected by its id, by a unique prefix of it, or by its name.

With arguments in the cell, as YAML:

    %%ilab train --name my-model
    data: [my-data.jsonl]
    method: lora
    epochs: 3
"""


def transform_help(lines: list[str]) -> list[str]:
    """Input transformer for `%ilab` lines that end in a question mark, which IPython reads as a help query.

    `%ilab train?` shows the help of the command, and `%ilab chat m Who?` sends the question to the model.
    """
    return [_transformed(line) for line in lines]


def _transformed(line: str) -> str:
    if (query := _HELP.fullmatch(line)) and query[2] in COMMANDS:
        return f"{query[1]}%ilab {query[2]} --help\n"
    if question := _CHAT.fullmatch(line):
        return f"{question[1]}get_ipython().run_line_magic('ilab', {question[2]!r})\n"
    return line
