"""The audit as events of this server: actions on jobs, and refused requests."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ilab_jupyter.jobs.local import LocalJobs

EVENT_SCHEMA = "https://schema.ilab-jupyter.org/audit/v1"
REFUSALS = frozenset({401, 403, 404})
_AT_ONCE = 500
_LONGEST = 200


class AuditTrail:
    """Emits each entry once; entries from before the start of this server are skipped."""

    def __init__(
        self,
        emit: Callable[[dict[str, Any]], None],
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self._emit = emit
        self._log = log
        self._since = time.time()
        self._after: int | None = None

    async def tell(self, jobs: LocalJobs) -> None:
        """Emit what was added since the last call."""
        if self._after is None:
            self._after = await jobs.last_audit_seq(self._since)
        while entries := await jobs.audit(after=self._after, limit=_AT_ONCE):
            for entry in entries:
                self._after = entry.seq
                self._emit(entry.model_dump(include={"actor", "action", "target", "detail"}))
            if len(entries) < _AT_ONCE:
                return

    def refused(self, actor: str, verb: str, path: str, status: int, address: str) -> None:
        """Emit and log a refused request."""
        actor, target = actor[:_LONGEST], f"{verb} {path}"[:_LONGEST]
        self._log.info("ilab_jupyter: refused %r to %r from %s: %d", target, actor, address, status)
        self._emit({"actor": actor, "action": "refused", "target": target, "detail": {"status": status}})
