"""Storing a new job: one durable row, and its secrets durable before it. The rest is made when it starts."""

from __future__ import annotations

import hashlib
import json
import secrets as random
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ilab_jupyter.durable import disk_advice, sync, write_json
from ilab_jupyter.errors import Conflict, InvalidInput
from ilab_jupyter.jobs.folder import StateFolder
from ilab_jupyter.jobs.record import JobSpec, Resources
from ilab_jupyter.jobs.store import Row, Store

_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def wanted(spec: JobSpec) -> dict[str, Any]:
    """The spec as it is stored; InvalidInput where the arguments are no JSON.

    Resources that are not asked for are left out: a key's digest is that of the version that had none.
    """
    try:
        json.dumps(spec.arguments, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            "The arguments hold half a character, which is no text.", "Write it again."
        ) from None
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"The arguments are no JSON: {error}.", "NaN and infinity are none.") from None
    return spec.model_dump(mode="json", exclude={"resources"} if spec.resources == Resources() else None)


def digest(spec: Mapping[str, Any]) -> str:
    """The same for the same `wanted` spec."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()


def insert(
    store: Store,
    owner: str,
    spec: JobSpec,
    launched: Mapping[str, Any],
    *,
    key: str | None = None,
    secrets: Mapping[str, str] | None = None,
    actor: str | None = None,
) -> Row:
    """The stored job: a new QUEUED one, or the one that this owner submitted under this key before.

    Conflict where that was another spec.
    """
    asked = wanted(spec)
    id = f"{spec.kind}-{''.join(random.choice(_LETTERS) for _ in range(8))}"
    values = {
        "id": id,
        "kind": spec.kind,
        "name": spec.name or spec.kind,
        "owner": owner,
        "spec": asked,
        "launch": launched,
        "key": key,
        "spec_hash": digest(asked),
        "queue": spec.queue,
        "priority": spec.priority,
    }
    kept = False
    with disk_advice(store.state.path):
        try:
            _make_folder(store.state, id, secrets or {})
            row = _stored(store, values, actor)
            kept = row.id == id
            if kept:
                _mark(store.state, id)
        except BaseException:
            # A commit whose answer was lost may have been one.
            with suppress(Exception):
                kept = True
                kept = store.get(id) is not None
            raise
        finally:
            if not kept:
                shutil.rmtree(store.state.job(id).path, ignore_errors=True)
    return row


def _stored(store: Store, values: dict[str, Any], actor: str | None) -> Row:
    key = values["key"]
    with store.write() as connection:
        row = None if key is None else store.by_key(connection, values["owner"], key)
        if row is None:
            return store.insert(connection, {**values, "created": time.time()}, actor=actor)
    if row.spec_hash != values["spec_hash"]:
        raise Conflict(f"The key {key!r} was used for another job, {row.id}.", "Choose another key.")
    return row


def _mark(state: StateFolder, id: str) -> None:
    """The row is durable; that its folder says so is only for who finds the folder without the row."""
    with suppress(OSError):
        state.job(id).stored.touch(mode=0o600)


def _make_folder(state: StateFolder, id: str, secrets: Mapping[str, str]) -> None:
    folder = state.job(id)
    folder.path.mkdir(mode=0o700)
    if secrets:
        write_json(folder.secrets, dict(secrets))
        sync(state.jobs)
