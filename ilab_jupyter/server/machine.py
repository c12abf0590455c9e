"""State of the machine, cached for two seconds."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from ilab_jupyter.hardware import Machine, look

FRESH_SECONDS = 2.0


class MachineView:
    """Reads the state in a thread, because a driver may be slow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = asyncio.Lock()
        self._seen: tuple[float, Machine] | None = None

    async def now(self) -> Machine:
        """The machine, at most `FRESH_SECONDS` old."""
        async with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] > FRESH_SECONDS:
                self._seen = (time.monotonic(), await asyncio.to_thread(look, self._folder))
            return self._seen[1]
