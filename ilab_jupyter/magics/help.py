"""The manual of `%ilab`: the overview that `%ilab?` shows, and `%ilab train?` for a command's own."""

from __future__ import annotations

import re

COMMANDS: dict[str, str] = {
    "generate": "make synthetic training data from a taxonomy",
    "ingest": "turn documents into markdown and chunks",
    "rag": "put documents into a store that can be searched and asked",
    "curate": "check a large dataset, mix, take out duplicates, look for leaks",
    "train": "fine-tune a model on generated data or on your own JSONL",
    "evaluate": "measure a model with a benchmark: MT-Bench, MMLU, DK-Bench",
    "model": "download a model, merge an adapter, convert to GGUF, upload",
    "serve": "put a model behind the OpenAI-compatible API",
    "chat": "ask a served model; the answer streams in as text",
    "jobs": "list jobs",
    "logs": "print a job's log, or search in it",
    "attempts": "show a job's attempts and how each ended",
    "queue": "show what runs and what waits; pause, resume, put a job first",
    "prune": "remove the logs of jobs that ended long ago",
    "cancel": "ask a job to stop; it saves a checkpoint first where it can",
    "resume": "continue an ended job from its last checkpoint",
    "attach": "show a job live again, after a restart too",
    "remove": "remove a model, a dataset or an ended job from disk",
    "models": "list models",
    "data": "list datasets, or look into one",
    "config": "show InstructLab's configuration, make it for this machine, change a value",
    "taxonomy": "show a taxonomy, what has changed in it and what is wrong; begin one",
    "system": "show what this machine offers",
    "demo": "run the whole of it on the sample taxonomy",
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
