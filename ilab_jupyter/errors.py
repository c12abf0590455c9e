"""Errors meant for a person: one sentence, a next step, a status and a typed cause.

Anything that is not a PublicError is a bug: it keeps its traceback in the log and is never shown as text.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ilab_jupyter.display import TITLE, safe

# Messages of libraries that hide the error number.
_NO_SPACE = ("No space left", "Disk quota exceeded", "os error 28", "os error 122")
_NO_MEMORY = ("DefaultCPUAllocator", "Cannot allocate memory", "std::bad_alloc")
_NO_GPU_MEMORY = ("CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
_TYPES = frozenset({"str", "int", "float", "bool"})


class PublicError(Exception):
    """Text that is safe and useful to show; `status` is its HTTP meaning, `cause` its machine-readable name.

    `hint` says what the person can do now, as a sentence or a command.
    """

    status: int = 400
    cause: str = "invalid"

    def __init__(self, message: str, hint: str = "", *, cause: str | None = None) -> None:
        # Both may quote what a model, a server or a file says.
        message, hint = safe(message), safe(hint)
        super().__init__(message)
        self.message = message
        self.hint = hint
        if cause is not None:
            self.cause = cause

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def to_dict(self) -> dict[str, Any]:
        """The wire form, the same for HTTP bodies and for a job's `error` event."""
        return {"cause": self.cause, "message": self.message, "hint": self.hint}


class InvalidInput(PublicError):
    """The request cannot be carried out as written."""


class NotFound(PublicError):
    """No such job, model, dataset or file, or it belongs to another user."""

    status = 404
    cause = "not_found"


class Conflict(PublicError):
    """The thing exists, but its state does not allow this."""

    status = 409
    cause = "conflict"


class Unprocessable(PublicError):
    """The data was read and is wrong: a taxonomy, a dataset, a model folder."""

    status = 422
    cause = "bad_data"


class TeacherError(PublicError):
    """The teacher refused, timed out or sent an unusable answer."""

    status = 424
    cause = "teacher_failed"


class Unavailable(PublicError):
    """A resource is missing now: disk space, a port, the engine's libraries, a readable store."""

    status = 503
    cause = "unavailable"


class Forbidden(PublicError):
    """Not signed in, or signed in and not allowed."""

    status = 403
    cause = "forbidden"


class TooLarge(PublicError):
    """The input is larger than the limit."""

    status = 413
    cause = "too_large"


class TooMany(PublicError):
    """A limit on concurrent or queued work is reached; the same request may succeed later."""

    status = 429
    cause = "too_many"


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its causes in order, each once: causes can form a cycle."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def is_disk_full(link: BaseException) -> bool:
    """Whether this error of a chain reports a full disk or an exhausted quota, in any library's words."""
    if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return any(words in str(link) for words in _NO_SPACE)


def out_of_memory_cause(error: BaseException) -> str | None:
    """The cause where memory ran out below this error: `gpu_out_of_memory`, `out_of_memory`, or None."""
    for link in chain(error):
        text = str(link)
        # By its name: torch, whose error it is, is not imported for a comparison.
        if type(link).__name__ == "OutOfMemoryError" or any(words in text for words in _NO_GPU_MEMORY):
            return "gpu_out_of_memory"
        short = isinstance(link, OSError) and link.errno == errno.ENOMEM
        if short or isinstance(link, MemoryError) or any(words in text for words in _NO_MEMORY):
            return "out_of_memory"
    return None


def wrong_field(detail: Mapping[str, Any]) -> str:
    """One detail of a pydantic ValidationError for a person: `scale: Input should be greater than 0`."""
    path, kind, said = [str(part) for part in detail["loc"]], detail["type"], str(detail["msg"])
    # where a field takes several types, pydantic also names the type that it tried, such as `list[str]`
    fields = [part for part in path if part not in _TYPES and re.fullmatch(r"[\w ]*", part)]
    if kind == "extra_forbidden":
        within = [part for part in path[:-1] if part in fields]
        return f"There is no argument {'.'.join([*within, path[-1]])!r}"
    where = ".".join(fields)
    if kind == "missing":
        said = "it is missing"
    elif kind == "value_error":
        said = said.removeprefix("Value error, ")
    elif kind == "string_pattern_mismatch" and detail["ctx"]["pattern"] == TITLE:
        said = "control characters, and characters that cannot be seen, are not accepted"
    elif kind == "string_pattern_mismatch" and detail["ctx"]["pattern"].startswith("^[a-z0-9][a-z0-9._-]"):
        said = "use up to 128 of a-z, 0-9, '.', '_' and '-', a letter or digit first"
    return f"{where}: {said}" if where else said
