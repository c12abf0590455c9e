"""Tab completion of `%ilab`: commands, options and their choices, job ids, model and dataset names.

Names are cached and refreshed in the background, so that a slow disk or service does not block the prompt.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ilab_jupyter.client.inference import deployments
from ilab_jupyter.errors import PublicError
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import run
from ilab_jupyter.kinds.catalog import KINDS
from ilab_jupyter.kinds.kind import Argument, Kind
from ilab_jupyter.magics import parsers
from ilab_jupyter.magics.help import COMMANDS
from ilab_jupyter.registry.datasets import Datasets
from ilab_jupyter.registry.models import Models

if TYPE_CHECKING:
    from ilab_jupyter.magics.ilab import IlabMagics

TIMEOUT_SECONDS = 0.08
CACHE_SECONDS = 2.0


class CachedNames:
    """A list that may be slow to read: `get` returns after 80 ms at most, with the last known names."""

    def __init__(self, read: Callable[[], list[str]]) -> None:
        self._read = read
        self._known: list[str] = []
        self._read_at = -CACHE_SECONDS
        self._reading: threading.Thread | None = None

    def get(self) -> list[str]:
        if time.monotonic() - self._read_at >= CACHE_SECONDS and (
            self._reading is None or not self._reading.is_alive()
        ):
            self._reading = threading.Thread(target=self._refresh, name="ilab-completion", daemon=True)
            self._reading.start()
            self._reading.join(TIMEOUT_SECONDS)
        return self._known

    def _refresh(self) -> None:
        try:
            self._known = self._read()
        except (PublicError, OSError):
            # Completion cannot report an error; the command itself does.
            return
        self._read_at = time.monotonic()


class Completer:
    """IPython's `complete_command` hook for `%ilab` and `%%ilab`."""

    def __init__(self, magics: IlabMagics) -> None:
        self._magics = magics
        self._jobs = CachedNames(self._ids)
        self._waiting = CachedNames(lambda: magics.jobs.queue().waiting)
        self._models = CachedNames(lambda: [entry.name for entry in Models().list()])
        self._served = CachedNames(lambda: [one.model for one in run(deployments(magics.jobs.service))])
        self._data = CachedNames(lambda: [entry.name for entry in Datasets().list()])

    def __call__(self, _: object, event: Any) -> list[str]:
        """Candidates for the word at the cursor; IPython keeps those that match what is typed."""
        words = event.text_until_cursor.split()[1:]
        if words and not event.text_until_cursor[-1].isspace():
            words.pop()
        if not words:
            return list(COMMANDS)
        command, previous = words[0], words[-1]
        if command not in COMMANDS:
            return []
        parser = parsers.build_parser(command)
        if previous.startswith("--"):
            option = previous.replace("_", "-")
            if choices := parser.choices_of(option):
                return choices
            if command in KINDS and (values := self._option_values(KINDS[command], parser.dest_of(option))):
                return values
            if option == "--before":
                return self._waiting.get()
            if parser.takes_value(option):
                return []
        if event.symbol.startswith("-"):
            return [*parser.option_names(), "--help"]
        if command == "queue" and len(words) > 1:
            return self._waiting.get() if previous == "first" else parser.option_names()
        return [*self._arguments(command, words), *parser.option_names()]

    def _option_values(self, kind: Kind, name: str | None) -> list[str]:
        return [] if name is None else self._values(kind, kind.argument(name))

    def _values(self, kind: Kind, argument: Argument) -> list[str]:
        """Values for an argument: its choices, or the names of models or datasets."""
        if argument.resolve == "model":
            return self._models.get()
        if argument.resolve == "dataset":
            return [*self._data.get(), *self._jobs.get()]
        return list(kind.choices(argument.name)) if argument.name in kind.spec.model_fields else []

    def _removable(self, words: list[str]) -> list[str]:
        """What can be removed, then the names of that sort."""
        names = {"model": self._models, "dataset": self._data, "job": self._jobs}
        if len(words) < 2:
            return list(names)
        return names[words[1]].get() if words[1] in names and len(words) == 2 else []

    def _arguments(self, command: str, words: list[str]) -> list[str]:
        if command in parsers.ACTIONS:
            return list(parsers.ACTIONS[command])
        if command in ("logs", "attempts", "cancel", "resume", "attach"):
            return self._jobs.get()
        if command == "remove":
            return self._removable(words)
        if command in KINDS:
            kind = KINDS[command]
            return [value for argument in kind.positional for value in self._values(kind, argument)]
        if command == "chat":
            return self._served.get()
        return self._data.get() if command == "data" else []

    def _ids(self) -> list[str]:
        found = self._magics.jobs.list(limit=100).jobs
        live_first = sorted(found, key=lambda job: job.state in (JobState.SUCCEEDED, JobState.FAILED))
        return [job.id for job in live_first]
