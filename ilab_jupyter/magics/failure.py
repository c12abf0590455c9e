"""Errors of the magics: a message and a hint without a traceback."""

from __future__ import annotations

import re

from IPython.core.error import UsageError

from ilab_jupyter.errors import PublicError

# Calls of the SDK in messages, and the equivalent commands.
_COMMANDS = (
    (r"`?Config\.init\(overwrite=True\)`?", "`%ilab config init --overwrite`"),
    (r"`?Config\.(init|profiles|unused)\(\)`?", r"`%ilab config \1`"),
    (r"`?Config\.(?:load|show)\(\)`?", "`%ilab config`"),
    (r"`?Taxonomy\.(init|tree|diff|validate)\(\)`?", r"`%ilab taxonomy \1`"),
    (r"`?overwrite=True`?", "`--overwrite`"),
)


def in_commands(text: str) -> str:
    """The text with calls of the SDK written as `%ilab` commands."""
    for call, command in _COMMANDS:
        text = re.sub(call, command, text)
    return text


class CommandError(UsageError):
    """Stops the cell and a `Run All`. `error` is the original error."""

    def __init__(self, error: PublicError) -> None:
        error.hint = in_commands(error.hint)
        super().__init__(str(error))
        self.error = error

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython shows instead of a traceback."""
        return [f"\x1b[31m{self.error.message}\x1b[0m", *filter(None, [self.error.hint])]
