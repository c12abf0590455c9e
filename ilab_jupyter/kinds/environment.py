"""The process environment of a job, prepared before any heavy library is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ilab_jupyter.engine import hide_unfit_torchvision


def prepare() -> None:
    """Put this interpreter's programs on PATH, silence libraries, limit threads to the processors."""
    _path()
    # No telemetry, and forked tokenizers must not warn or hang.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Progress is reported as events; progress bars would fill the log with control characters.
    os.environ.setdefault("TQDM_DISABLE", "1")
    # Idle OpenMP threads that spin would occupy processors that other threads need.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OMP_NUM_THREADS", str(_cpus()))
    hide_unfit_torchvision()


def _path() -> None:
    own = str(Path(sys.prefix) / "bin")
    parts = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if own not in parts:
        os.environ["PATH"] = os.pathsep.join([own, *parts])


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
