"""Why one document cannot be read, as the reading of it raises it. The reading of the others goes on."""

from __future__ import annotations


class Unreadable(Exception):
    """`reason` is one of `results.Failure.reason`; message and next step are for a person."""

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint
