"""LoRA (Hu et al. 2021): low-rank updates beside every linear layer; the result is an adapter on its base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ilab_jupyter.training.spec import Settings

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel


class Lora:
    """Rank, alpha and dropout as the settings say, on all linear layers but the output head."""

    def prepare(self, model: PreTrainedModel, settings: Settings, base: Path) -> PeftModel:
        """The frozen model with a fresh adapter that names its base by an absolute path."""
        from peft import LoraConfig, PeftModel, get_peft_model

        config = LoraConfig(
            r=settings.lora_rank or 16,
            lora_alpha=settings.lora_alpha or 32,
            lora_dropout=settings.lora_dropout or 0.0,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        adapted = get_peft_model(model, config)
        assert isinstance(adapted, PeftModel)
        # Stored as given: a relative path would not resolve where the adapter is loaded.
        config.base_model_name_or_path = str(base.absolute())
        return adapted

    def save(self, model: PeftModel, folder: Path, dtype: torch.dtype) -> None:
        """The adapter's weights alone, in the float32 that they were trained in."""
        model.save_pretrained(str(folder))
