"""Full fine-tuning: every weight is trained, and the result is a complete model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ilab_jupyter.training.spec import Settings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class Full:
    """All weights."""

    def prepare(self, model: PreTrainedModel, settings: Settings, base: Path) -> PreTrainedModel:
        """The model itself."""
        model.requires_grad_(True)
        return model

    def save(self, model: PreTrainedModel, folder: Path, dtype: torch.dtype) -> None:
        """The whole model in `dtype`, the format that its base had on disk."""
        model.to(dtype)  # type: ignore[arg-type]
        model.save_pretrained(folder)
