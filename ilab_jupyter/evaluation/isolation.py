"""Benchmark libraries are guests in this process, perhaps a notebook's: they leave it as they found it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_inside = 0
_before: tuple[Any, dict[str, str]] = (None, {})


@contextmanager
def unchanged() -> Iterator[None]:
    """While a library is imported or at work: asyncio and the environment variables stay as they are.

    As it is imported, ragas makes all event loops of the process reentrant, which changes how other people's
    tasks run and end. It need not: its requests run in threads that have no loop. instructlab-eval
    sets TOKENIZERS_PARALLELISM for good. Where several threads have guests, the last to leave tidies up.
    """
    global _inside, _before
    import nest_asyncio  # type: ignore[import-untyped]

    with _lock:
        if _inside == 0:
            _before = nest_asyncio.apply, dict(os.environ)
            nest_asyncio.apply = lambda loop=None: None
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                nest_asyncio.apply, environment = _before
                for name in {*environment, *os.environ}:
                    if name not in environment:
                        os.environ.pop(name, None)
                    elif os.environ.get(name) != environment[name]:
                        os.environ[name] = environment[name]
