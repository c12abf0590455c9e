"""Client of the process that reads documents: sends orders, monitors it, and kills it on timeout."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from ilab_jupyter.errors import InvalidInput, Unavailable
from ilab_jupyter.retrieval.unreadable import Unreadable

START_SECONDS = 300.0
_LISTENING_SECONDS = 0.2


@dataclass(frozen=True)
class Order:
    """A document to read, and the paths of the files to write (None: not written)."""

    path: str
    name: str
    format: str
    markdown: str | None = None
    json: str | None = None
    chunks: str | None = None
    chunk_tokens: int = 500
    tokenizer: str | None = None
    pdf: str = "auto"
    pdf_models: str | None = None
    memory_bytes: int = 4 * 1024**3


@dataclass(frozen=True)
class Outcome:
    """The result of reading a document. `pages` is None for a format without pages."""

    pages: int | None
    characters: int
    chunks: int
    losses: tuple[str, ...]


class Reader:
    """Reads documents in a subprocess, which is started on demand and restarted after a crash.

    `stop` is called several times a second while a document is read; an exception from it aborts reading.
    """

    def __init__(self, timeout: float, stop: Callable[[], None] = lambda: None) -> None:
        self._timeout = timeout
        self._stop = stop
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = b""

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def read(self, order: Order) -> Outcome:
        """Execute the order and return its outcome.

        Raises Unreadable for a document that cannot be read, exceeds the time limit, or crashes the process;
        Unavailable if the process cannot be started.
        """
        process = self._started()
        assert process.stdin is not None, "opened with a pipe"
        try:
            process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
            process.stdin.flush()
            reply = self._line(self._timeout)
        except TimeoutError:
            self._end()
            raise Unreadable(
                "timeout",
                f"Reading it took longer than {self._timeout:g} seconds.",
                "Split it, or raise the timeout.",
            ) from None
        except (EOFError, BrokenPipeError):
            code = self._end()
            how = signal.Signals(-code).name if code < 0 else f"code {code}"
            raise Unreadable("broken", f"It made the reader crash ({how}).", "Save it again.") from None
        except BaseException:
            self._end()
            raise
        return _outcome(reply)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        # send no requests to the Hugging Face hub
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ilab_jupyter.retrieval.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        try:
            self._line(START_SECONDS)
        except (TimeoutError, EOFError):
            code = self._end()
            raise Unavailable(
                f"The process that reads documents does not start (code {code}).",
                "Read the log; install the engine with: pip install 'ilab-jupyter[engine]'.",
            ) from None
        except BaseException:
            self._end()
            raise
        return self._process

    def _line(self, seconds: float) -> dict[str, Any]:
        """Return the next reply. Raises TimeoutError, or EOFError if the process has ended."""
        process = self._process
        assert process is not None and process.stdout is not None, "it was started with pipes"
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                self._stop()
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                if selector.select(min(left, _LISTENING_SECONDS)):
                    block = os.read(process.stdout.fileno(), 65536)
                    if not block:
                        raise EOFError
                    self._pending += block
        line, _, self._pending = self._pending.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _end(self) -> int:
        """Kill the process and its children; return its exit code."""
        process, self._process, self._pending = self._process, None, b""
        if process is None:
            return 0
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        return process.wait()


def _outcome(reply: dict[str, Any]) -> Outcome:
    if "unreadable" in reply:
        raise Unreadable(*reply["unreadable"])
    if "refused" in reply:
        raise InvalidInput(*reply["refused"])
    if "disk" in reply:
        raise OSError(*reply["disk"])
    return Outcome(**{**reply["read"], "losses": tuple(reply["read"]["losses"])})
