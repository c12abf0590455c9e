"""How a magic fails: one sentence and a next step, an error for the notebook, no traceback."""

from __future__ import annotations

from IPython.core.error import UsageError

from ilab_jupyter.errors import PublicError


class CommandError(UsageError):
    """Stops the cell, and a `Run All` with it. `error` is what happened."""

    def __init__(self, error: PublicError) -> None:
        super().__init__(str(error))
        self.error = error

    def _render_traceback_(self) -> list[str]:
        """IPython shows these lines in place of a traceback."""
        return [f"\x1b[31m{self.error.message}\x1b[0m", *filter(None, [self.error.next_step])]
