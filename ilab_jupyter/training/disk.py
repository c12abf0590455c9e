"""Check, before a training starts, that the disk has space for its checkpoints and its model."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ilab_jupyter.errors import Unavailable, chain, is_disk_full

CAUSE = "disk_full"
KEPT = 2
# Tokenizer, configuration, trainer state and what the file system itself takes.
MARGIN = 32 * 1024 * 1024
# torch's writer reports only that it failed; the free space is then the evidence.
VAGUE = ("PytorchStreamWriter", "inline_container")
NEARLY_NOTHING = 16 * 1024 * 1024


@dataclass(frozen=True)
class Need:
    """Bytes: one checkpoint, and the final model."""

    checkpoint: int
    model: int

    def checkpoints(self, count: int) -> int:
        """Bytes at the worst moment: those kept, and the new one before the oldest goes."""
        return self.checkpoint * min(count, KEPT + 1)


def check(need: Need, count: int, checkpoints: Path, models: Path) -> None:
    """Unavailable (cause disk_full) with the numbers, where `count` checkpoints and the model do not fit."""
    positions = [(_existing(checkpoints), need.checkpoints(count)), (_existing(models), need.model)]
    if positions[0][0].stat().st_dev == positions[1][0].stat().st_dev:
        positions = [(positions[0][0], positions[0][1] + positions[1][1])]
    for folder, size in positions:
        free = shutil.disk_usage(folder).free
        if free < size + MARGIN:
            raise Unavailable(
                f"This training needs {shown(size + MARGIN)} of disk for its checkpoints and its model, "
                f"and {shown(free)} are free.",
                "Free some space, use LoRA, or raise save_steps.",
                cause=CAUSE,
            )


def ran_out(error: BaseException, folder: Path) -> bool:
    """True where an error means that the disk of `folder` is full, whichever library raised it."""
    for link in chain(error):
        if is_disk_full(link):
            return True
        if any(word in str(link) for word in VAGUE):
            return shutil.disk_usage(_existing(folder)).free < NEARLY_NOTHING
    return False


def full() -> Unavailable:
    """The error for a disk that became full during the training."""
    return Unavailable(
        "The disk is full.", "Free some space and resume; what was complete before is kept.", cause=CAUSE
    )


def shown(size: int) -> str:
    """A readable size in GB or MB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
