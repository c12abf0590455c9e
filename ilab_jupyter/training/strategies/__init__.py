"""Which weights a training changes: all of them (full) or small added ones (lora)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ilab_jupyter.training.spec import Method, Settings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class Strategy(Protocol):
    """One way to train."""

    def prepare(self, model: PreTrainedModel, settings: Settings, base: Path) -> Any:
        """The model to train, with `requires_grad` on exactly what changes."""

    def save(self, model: Any, folder: Path, dtype: torch.dtype) -> None:
        """Write the trained weights into an empty folder, the whole model in `dtype`."""


def strategy(method: Method) -> Strategy:
    """The strategy of a method; only the chosen one's libraries are imported."""
    if method == "lora":
        from ilab_jupyter.training.strategies.lora import Lora

        return Lora()
    from ilab_jupyter.training.strategies.full import Full

    return Full()
