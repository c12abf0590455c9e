"""Subprocess that reads documents, one for each request of its parent (`Reader`)."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from dataclasses import asdict
from typing import Any

from ilab_jupyter.errors import PublicError
from ilab_jupyter.retrieval.reader import Order
from ilab_jupyter.retrieval.unreadable import Unreadable

_PDEATHSIG = 1


def main() -> None:
    """Read orders from stdin and write replies to stdout, one JSON line each.

    Output that a library prints goes to stderr.
    """
    # the process ends when its parent is killed
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    from ilab_jupyter.engine import hide_unfit_torchvision

    hide_unfit_torchvision()
    from ilab_jupyter.retrieval import document

    replies.write(json.dumps({"ready": os.getpid()}) + "\n")
    for line in sys.stdin:
        order = Order(**json.loads(line))
        _limit(order.memory_bytes)
        replies.write(json.dumps(_reply(document.read, order)) + "\n")


def _reply(read: Any, order: Order) -> dict[str, Any]:
    try:
        return {"read": asdict(read(order))}
    except Unreadable as error:
        return {"unreadable": [error.reason, error.message, error.hint]}
    except MemoryError:
        return {
            "unreadable": [
                "memory",
                f"Reading it needs more than {order.memory_bytes / 1e9:.0f} GB of memory.",
                "Split it.",
            ]
        }
    except RecursionError:
        return {"unreadable": ["broken", "It is nested too deeply.", "Save it with its own program."]}
    except PublicError as error:
        return {"refused": [error.message, error.hint]}
    except OSError as error:
        return {"disk": [error.errno, error.strerror, str(error.filename or "")]}
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0][:200]
        return {
            "unreadable": [
                "broken",
                f"docling cannot read it ({type(error).__name__}: {said}).",
                "Save it again, or as another format.",
            ]
        }


def _limit(memory_bytes: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


if __name__ == "__main__":
    main()
