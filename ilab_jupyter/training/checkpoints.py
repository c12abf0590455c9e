"""Checkpoints of a training: which are complete, and whether they belong to the current settings."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from ilab_jupyter import durable, paths
from ilab_jupyter.errors import Conflict, InvalidInput

IDENTITY = "training.json"
SEAL = "ilab-complete.json"
STEP = re.compile(r"checkpoint-(\d+)")
JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", re.ASCII)


class Checkpoints:
    """The folder of one job's checkpoints below `paths.checkpoints_dir()`.

    A checkpoint counts once it is sealed: its files are on the disk, and their sizes are written beside them.
    """

    def __init__(self, job_id: str) -> None:
        if not JOB_ID.fullmatch(job_id):
            raise InvalidInput(f"{job_id[:80]!r} cannot be a job's id.", "Use letters, digits, '_' and '-'.")
        self.job_id = job_id
        self.folder = paths.checkpoints_dir() / job_id
        self.tokens = self.folder / "tokens"
        self.damaged: list[str] = []

    def begin(self, identity: dict[str, Any], *, resume: bool) -> Path | None:
        """Make the folder ready, and give the checkpoint to continue from; None starts from the beginning.

        `identity` is what the result depends on. Conflict where a checkpoint comes from something else, or
        where there is one and `resume` is false. Damaged checkpoints are removed; `damaged` names those newer
        than the one to continue from.
        """
        stored = self._identity()
        last = self._last() if stored is not None else None
        if last is not None and not resume:
            raise Conflict(
                f"There are checkpoints of job {self.job_id!r}.", "Resume it, or train under another job id."
            )
        if last is not None and stored is not None and stored != identity:
            changed = sorted(key for key in {*stored, *identity} if stored.get(key) != identity.get(key))
            raise Conflict(
                f"The checkpoints come from another training: {', '.join(changed)} changed since.",
                "Put back what changed, or start a new training.",
                cause="checkpoint_mismatch",
            )
        newer = step_of(last) if last is not None else -1
        # What a killed process was still writing is not damaged: it has no seal.
        self.damaged = [
            entry.name for entry in self._all() if step_of(entry) > newer and (entry / SEAL).exists()
        ]
        for left in self._all():
            if last is None or not sealed(left):
                shutil.rmtree(left, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        if last is None:
            _write(self.folder / IDENTITY, identity)
        return last

    def path(self, step: int) -> Path:
        """The path of the checkpoint of a step."""
        return self.folder / f"checkpoint-{step}"

    def seal(self, step: int) -> Path:
        """Make a written checkpoint durable and mark it as complete."""
        folder = self.path(step)
        sizes = {}
        for file in sorted(folder.iterdir()):
            if file.is_file():
                sizes[file.name] = file.stat().st_size
                durable.sync(file)
        _write(folder / SEAL, sizes)
        durable.sync(self.folder)
        return folder

    def tidy(self) -> None:
        """Remove incomplete checkpoints, and the folder if none is complete."""
        if self._last() is None:
            self.remove()
        shutil.rmtree(self.tokens, ignore_errors=True)

    def remove(self) -> None:
        """Remove all checkpoints after the training has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _all(self) -> list[Path]:
        found = [
            (int(match[1]), entry)
            for entry in (self.folder.iterdir() if self.folder.is_dir() else ())
            if (match := STEP.fullmatch(entry.name)) and entry.is_dir()
        ]
        return [entry for _, entry in sorted(found)]

    def _last(self) -> Path | None:
        return next((entry for entry in reversed(self._all()) if sealed(entry)), None)

    def _identity(self) -> dict[str, Any] | None:
        return durable.read_json(self.folder / IDENTITY)


def sealed(folder: Path) -> bool:
    """Whether every file of a checkpoint exists with the size that it was written with."""
    sizes = durable.read_json(folder / SEAL)
    if not sizes:
        return False
    try:
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except OSError:
        return False


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    match = STEP.fullmatch(checkpoint.name)
    return int(match[1]) if match else 0


def _write(file: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=2, sort_keys=True) + "\n"
    durable.write_durably(file, text.encode(), mode=0o666)
