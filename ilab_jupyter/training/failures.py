"""What runs out or breaks below a training, said as an error that names a way out."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from pathlib import Path

from ilab_jupyter.errors import PublicError, Unavailable, Unprocessable, chain
from ilab_jupyter.progress import Stopped
from ilab_jupyter.training import disk
from ilab_jupyter.training.spec import Settings


@contextlib.contextmanager
def explained(settings: Settings, folder: Path) -> Iterator[None]:
    """Lack of memory or disk and damaged checkpoints become PublicError; a bug stays what it is."""
    try:
        yield
    except (PublicError, Stopped):
        raise
    except Exception as error:
        if (public := _explain(error, settings, folder)) is not None:
            raise public from error
        raise


def _explain(error: Exception, settings: Settings, folder: Path) -> PublicError | None:
    for link in chain(error):
        # Raised by our own code below a library that wraps what it meets.
        if isinstance(link, PublicError):
            return link
    kind, text = type(error).__name__, str(error)
    if disk.ran_out(error, folder):
        return disk.full()
    smaller = (
        f"batch_size {max(settings.batch_size // 2, 1)} and max_seq_length {settings.max_seq_length // 2}"
    )
    if kind == "OutOfMemoryError":
        lora = "" if settings.method == "lora" else ", or with method lora"
        return Unavailable(
            "The GPU's memory is too small for this training.",
            f"Train with {smaller}{lora}; gradient_accumulation_steps keeps the batch as large as it was.",
            cause="gpu_out_of_memory",
        )
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in text:
        return Unavailable(
            "The machine's memory is too small for this training.",
            f"Train with {smaller}.",
            cause="out_of_memory",
        )
    if any(isinstance(link, pickle.UnpicklingError) for link in chain(error)):
        return Unprocessable(
            "The checkpoint was changed or damaged, and is not loaded.",
            "Remove the job's checkpoints and start a new training.",
            cause="bad_checkpoint",
        )
    return None
