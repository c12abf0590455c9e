"""Undo the changes that benchmark libraries make to the process, which may be a notebook's kernel."""

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
    """Context manager that keeps asyncio and the environment variables unchanged by a library.

    On import, ragas makes all event loops of the process reentrant (nest_asyncio), which changes how other
    tasks run and end. Here that is not needed: its requests run in threads without a loop. instructlab-eval
    sets TOKENIZERS_PARALLELISM permanently. If several threads are inside, the last one to exit restores.
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
