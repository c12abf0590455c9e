"""The last lines of a log that still grows, folded as a terminal would: a bounded buffer."""

from __future__ import annotations

from ilab_jupyter.jobs.logs.folding import fold, shorten

LINES = 500
LINE_LENGTH = 2000


class LogTail:
    """Whole lines in `lines`, the unfinished one in `rest`; older lines than the last 500 are dropped."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._open = ""

    @property
    def rest(self) -> str:
        """The unfinished line as shown on the screen."""
        return fold(self._open)[:LINE_LENGTH]

    def append(self, text: str) -> list[str]:
        """Take more of the log; gives the lines that it completed, at most 500."""
        *whole, self._open = (self._open + text).split("\n")
        # A progress bar rewrites its line for hours: only what is on the screen is kept of it.
        self._open = shorten(self._open)[: 4 * LINE_LENGTH]
        done = [fold(line)[:LINE_LENGTH] for line in whole[-LINES:]]
        self.lines = (self.lines + done)[-LINES:]
        return done
