"""The heavy libraries: whether they are there, and what must be so before the first one is imported."""

from __future__ import annotations

import gc
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from ilab_jupyter.errors import Unavailable

Device = Literal["auto", "cpu", "cuda"]


def require(work: str, *libraries: str, extra: str = "engine") -> None:
    """Call before the first of `libraries` is imported for `work`; Unavailable where one is missing.

    `extra` is the one of ours that brings them.
    """
    missing = [name for name in libraries if importlib.util.find_spec(name) is None]
    if missing:
        raise Unavailable(
            f"{work} needs {', '.join(missing)}, which this Python does not have.",
            f"Install the {extra}: pip install 'ilab-jupyter[{extra}]'.",
            cause="engine_missing",
        )
    hide_unfit_torchvision()


@contextmanager
def importing() -> Iterator[None]:
    """Around the first imports of heavy libraries. What they make stays, and to look for garbage in it, again
    and again while it grows, takes a seventh of the time."""
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            gc.enable()


def hide_unfit_torchvision() -> None:
    """Let transformers do without a torchvision that is made for another torch.

    docling brings torchvision's CUDA build. Beside a CPU build of torch its import fails, and with it that
    of every model class. Nothing here needs it; one that fits, or is loaded already, is left alone.
    """
    if "torchvision" in sys.modules:
        return
    if unfit_torchvision(_version("torch"), _version("torchvision")):
        sys.modules["torchvision"] = None  # type: ignore[assignment]
        _look_again()


def unfit_torchvision(torch: str, torchvision: str) -> bool:
    """Whether an installed torchvision is made for another build of torch, by their versions."""
    return torch.endswith("+cpu") and bool(torchvision) and not torchvision.endswith("+cpu")


def _look_again() -> None:
    """A transformers that was imported before has noted that there is a torchvision: it looks again."""
    known = sys.modules.get("transformers.utils.import_utils")
    for name in ("is_torchvision_available", "is_torchvision_v2_available"):
        if callable(clear := getattr(getattr(known, name, None), "cache_clear", None)):
            clear()


def choose_device(requested: str) -> Literal["cpu", "cuda"]:
    """The device for `requested`; Unavailable where CUDA is requested and missing. Imports torch."""
    import torch

    found = torch.cuda.is_available()
    if requested == "cuda" and not found:
        raise Unavailable(
            "No CUDA GPU is available to this job.", "Use device cpu or auto, or another machine."
        )
    return "cuda" if found and requested != "cpu" else "cpu"


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
