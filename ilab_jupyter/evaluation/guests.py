"""Benchmark libraries are guests in this process, perhaps a notebook's: they leave it as they found it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unchanged() -> Iterator[None]:
    """While a library is imported or at work: asyncio and the environment variables stay as they are.

    As it is imported, ragas makes all event loops of the process reentrant, which changes how other people's
    tasks run and end. It need not: its questions are asked in threads that have no loop. instructlab-eval
    sets TOKENIZERS_PARALLELISM for good.
    """
    import nest_asyncio  # type: ignore[import-untyped]

    apply, before = nest_asyncio.apply, dict(os.environ)
    nest_asyncio.apply = lambda loop=None: None
    try:
        yield
    finally:
        nest_asyncio.apply = apply
        for name in {**before, **os.environ}:
            if name not in before:
                del os.environ[name]
            elif os.environ.get(name) != before[name]:
                os.environ[name] = before[name]
