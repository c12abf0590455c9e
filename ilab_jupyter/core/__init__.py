"""The InstructLab SDK: one class a command group, each usable alone.

A class is imported at its first use, and heavy libraries inside the methods that need them: a server that
only shows a taxonomy imports nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ilab_jupyter.core.config import Config
    from ilab_jupyter.core.data import Data
    from ilab_jupyter.core.model import Model
    from ilab_jupyter.core.rag import RAG
    from ilab_jupyter.core.system import System
    from ilab_jupyter.core.taxonomy import Taxonomy

__all__ = ["RAG", "Config", "Data", "Model", "System", "Taxonomy"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{name.lower()}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
