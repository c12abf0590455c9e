"""Failures of resources and checkpoints as errors with a next step."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ilab_jupyter.errors import PublicError, Unavailable, Unprocessable, chain, out_of_memory_cause
from ilab_jupyter.progress import Stopped
from ilab_jupyter.training import disk
from ilab_jupyter.training.spec import Settings

SHORTEST = 16


@contextlib.contextmanager
def explained(settings: Settings, folder: Path) -> Iterator[None]:
    """Convert exhausted memory or disk and damaged checkpoints to PublicError; other errors are unchanged."""
    try:
        yield
    except (PublicError, Stopped):
        raise
    except Exception as error:
        if (public := _explain(error, settings, folder)) is not None:
            raise public from error
        raise


def smaller(settings: Settings) -> dict[str, Any]:
    """Arguments that reduce the memory of the same training; empty where nothing can be reduced."""
    batch, length = max(settings.batch_size // 2, 1), max(settings.max_seq_length // 2, SHORTEST)
    if batch < settings.batch_size or length < settings.max_seq_length:
        return {"batch_size": batch, "max_seq_length": min(length, settings.max_seq_length)}
    return {} if settings.method == "lora" else {"method": "lora"}


def _less(settings: Settings) -> str:
    change = smaller(settings)
    if not change:
        return "Choose a smaller model, or a machine with more memory."
    lora = "" if settings.method == "lora" or "method" in change else ", or with method lora"
    words = " and ".join(f"{name} {value}" for name, value in change.items())
    return f"Train with {words}{lora}; gradient_accumulation_steps keeps the batch as large as it was."


def _explain(error: Exception, settings: Settings, folder: Path) -> PublicError | None:
    for link in chain(error):
        # Raised by our own code below a library that wraps what it meets.
        if isinstance(link, PublicError):
            return link
    if disk.ran_out(error, folder):
        return disk.full()
    if (cause := out_of_memory_cause(error)) is not None:
        what = "GPU" if cause == "gpu_out_of_memory" else "machine"
        return Unavailable(
            f"The {what}'s memory is too small for this training.", _less(settings), cause=cause
        )
    if any(isinstance(link, pickle.UnpicklingError) for link in chain(error)):
        return Unprocessable(
            "The checkpoint was changed or damaged, and is not loaded.",
            "Remove the job's checkpoints and start a new training.",
            cause="bad_checkpoint",
        )
    return None
