"""The user on whose behalf code runs, for the audit log: a server sets the signed-in user of each request."""

from __future__ import annotations

from contextvars import ContextVar

_actor: ContextVar[str | None] = ContextVar("ilab_jupyter_actor", default=None)


def act_as(name: str) -> None:
    """Set the actor of the current context (a request's task and the threads that it starts)."""
    _actor.set(name[:255] or None)


def acting(owner: str) -> str:
    """Return the actor of this context; the owner of the jobs if none is set."""
    return _actor.get() or owner
