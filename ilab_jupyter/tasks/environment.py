"""The process environment of a job, prepared before any heavy library is imported."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def prepare() -> None:
    """Programs of this interpreter on PATH, quiet libraries, threads that fit the machine."""
    _path()
    # No library reports home about a person's work, and forked tokenizers must not warn or hang.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Idle OpenMP threads that spin take the processors that the next part of the work needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OMP_NUM_THREADS", str(_cpus()))
    if torchvision_is_broken():
        sys.modules["torchvision"] = None  # type: ignore[assignment]


def torchvision_is_broken() -> bool:
    """Whether a torchvision for CUDA lies beside a torch for the CPU, whose import fails in transformers."""
    torch, torchvision = _version("torch"), _version("torchvision")
    return torch.endswith("+cpu") and torchvision != "" and not torchvision.endswith("+cpu")


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _path() -> None:
    own = str(Path(sys.prefix) / "bin")
    parts = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if own not in parts:
        os.environ["PATH"] = os.pathsep.join([own, *parts])


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
