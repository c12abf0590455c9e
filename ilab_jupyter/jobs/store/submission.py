"""Storing a new job: one durable row, and its secrets durable before it. Folders are created at its start."""

from __future__ import annotations

import hashlib
import json
import secrets as random
import shutil
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from ilab_jupyter.durable import disk_advice, sync, write_json
from ilab_jupyter.errors import Conflict, InvalidInput, TooMany
from ilab_jupyter.jobs.folder import StateFolder
from ilab_jupyter.jobs.record import JobSpec, Resources
from ilab_jupyter.jobs.store.integrity import mark_stored
from ilab_jupyter.jobs.store.rows import Row, Store

_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def stored_spec(spec: JobSpec) -> dict[str, Any]:
    """Return the spec as stored. InvalidInput if the arguments are not JSON.

    Default resources are left out, so that the digest of a key stays that of versions without resources.
    """
    try:
        json.dumps(spec.arguments, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            "The arguments contain an unpaired surrogate.", "Replace or remove that character."
        ) from None
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"The arguments are not JSON: {error}.", "NaN and infinity are not allowed."
        ) from None
    left_out = {"resources"} if spec.resources == Resources() else set()
    return spec.model_dump(mode="json", exclude=left_out | (set() if spec.sources else {"sources"}))


def digest(spec: Mapping[str, Any]) -> str:
    """Return a digest of a stored spec."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()


@dataclass
class _Ticket:
    """A job to store, for which a caller is waiting."""

    values: dict[str, Any]
    actor: str | None
    row: Row | None = None
    error: Exception | None = None


class Submissions:
    """Stores new jobs. Submissions that arrive during a commit share the next one, so that many callers wait
    for a slow disk once."""

    def __init__(self, store: Store, most: int) -> None:
        """`most`: how many jobs of one owner may be QUEUED."""
        self._store = store
        self._most = most
        self._waiting: deque[_Ticket] = deque()
        self._committing = threading.Lock()

    def add(
        self,
        owner: str,
        spec: JobSpec,
        launched: Mapping[str, Any],
        *,
        key: str | None = None,
        secrets: Mapping[str, str] | None = None,
        actor: str | None = None,
        requested: JobSpec | None = None,
    ) -> Row:
        """Return the stored job: a new QUEUED one, or the one that this owner submitted under this key
        before.

        Conflict if that had another spec. `actor`, for the audit, is the owner if None. `requested` is the
        spec before its arguments were resolved: a repeated request has the same one.
        """
        stored = stored_spec(spec)
        id = f"{spec.kind}-{''.join(random.choice(_LETTERS) for _ in range(8))}"
        values = {
            "id": id,
            "kind": spec.kind,
            "name": spec.name or spec.kind,
            "owner": owner,
            "spec": stored,
            "launch": launched,
            "key": key,
            "spec_hash": digest(stored if requested is None else stored_spec(requested)),
            "queue": spec.queue,
            "priority": spec.priority,
        }
        state = self._store.state
        kept = False
        with disk_advice(state.path):
            try:
                _make_folder(state, id, secrets or {})
                row = self._commit(_Ticket(values, actor))
                kept = row.id == id
                if kept:
                    mark_stored(state.job(id))
            except BaseException:
                # A commit whose response was lost may have succeeded.
                with suppress(Exception):
                    kept = True
                    kept = self._store.get(id) is not None
                raise
            finally:
                if not kept:
                    shutil.rmtree(state.job(id).path, ignore_errors=True)
        if row.spec_hash != values["spec_hash"]:
            raise Conflict(f"The key {key!r} was used for another job, {row.id}.", "Choose another key.")
        return row

    def _commit(self, ticket: _Ticket) -> Row:
        self._waiting.append(ticket)
        with self._committing:
            if ticket.row is None and ticket.error is None:
                # The first caller writes for all that wait, including itself.
                self._write([self._waiting.popleft() for _ in range(len(self._waiting))])
        if ticket.error is not None:
            raise ticket.error
        assert ticket.row is not None
        return ticket.row

    def _write(self, tickets: list[_Ticket]) -> None:
        try:
            with self._store.write() as connection:
                rows = [self._insert(connection, ticket) for ticket in tickets]
        except Exception as error:
            if len(tickets) == 1:
                tickets[0].error = error
                return
            for ticket in tickets:  # one that cannot be stored must not affect the others
                self._write([ticket])
            return
        for ticket, row in zip(tickets, rows, strict=True):
            ticket.row = row

    def _insert(self, connection: Connection, ticket: _Ticket) -> Row:
        owner, key = ticket.values["owner"], ticket.values["key"]
        row = None if key is None else self._store.by_key(connection, owner, key)
        if row is not None:
            return row
        if (waiting := self._store.queued(connection, owner)) >= self._most:
            raise TooMany(
                f"{waiting:,} of your jobs are waiting in the queue; the limit is {self._most:,}.",
                "Wait until some have started, or cancel some.",
            )
        values = {**ticket.values, "created": time.time()}
        return self._store.insert(connection, values, actor=ticket.actor)


def _make_folder(state: StateFolder, id: str, secrets: Mapping[str, str]) -> None:
    folder = state.job(id)
    folder.path.mkdir(mode=0o700)
    if secrets:
        write_json(folder.secrets, dict(secrets))
        sync(state.jobs)
