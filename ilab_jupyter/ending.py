"""How a process of ours ends: without the seconds in which Python takes apart all that it had imported."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End this process now, with what was printed written out. No exit function is called."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def run(main: Callable[[list[str]], int], arguments: list[str]) -> NoReturn:
    """Do `main` and leave with its code, 1 where it raises.

    Threads are waited for, and the exit functions of what `main` imports are called, as ever. Call it before
    anything else registers one.
    """
    code = 1
    me = os.getpid()
    # The first that is registered is the last that is called. A fork ends as the code that forked it decides.
    atexit.register(lambda: leave(code) if os.getpid() == me else None)
    code = main(arguments)
    sys.exit(code)
