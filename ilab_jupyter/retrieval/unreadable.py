"""Exception for a document that cannot be read; the other documents are still read."""

from __future__ import annotations


class Unreadable(Exception):
    """A document cannot be read.

    `reason` is one of `results.Failure.reason`; `message` and `hint` are shown to the user.
    """

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint
