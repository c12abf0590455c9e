"""On whose behalf this code runs: a server names the signed-in user of each request, for the audit."""

from __future__ import annotations

from contextvars import ContextVar

_actor: ContextVar[str | None] = ContextVar("ilab_jupyter_actor", default=None)


def act_as(name: str) -> None:
    """From now on in this context (a request's task, and the threads that it starts) `name` acts."""
    _actor.set(name[:255] or None)


def acting(owner: str) -> str:
    """Who acts here: the named user, or the jobs' owner himself."""
    return _actor.get() or owner
