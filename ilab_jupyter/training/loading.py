"""Loading a checked model folder: safetensors only, no code of the model's own, nothing from a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilab_jupyter.errors import Unprocessable, out_of_memory_cause
from ilab_jupyter.training.spec import Method

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def max_positions(folder: Path) -> int | None:
    """The longest sequence that the model was made for, by its config.json; None where it does not say."""
    config = json.loads((folder / "config.json").read_bytes())
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    value = text.get("max_position_embeddings")
    return value if isinstance(value, int) and value > 0 else None


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The folder's tokenizer; Unprocessable where it cannot be read."""
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise Unprocessable(
            f"The tokenizer of {folder.name!r} cannot be loaded: {first_line(error)}",
            "Copy the tokenizer's files of the base model again.",
        ) from error
    return tokenizer


def load_model(folder: Path, method: Method, device: str) -> PreTrainedModel:
    """The folder's causal language model on the CPU; Unprocessable where the library cannot load it.

    Weights that are trained are in float32; those that LoRA leaves frozen in bfloat16 on a GPU that has it.
    """
    import torch
    from transformers import AutoModelForCausalLM

    frozen = method == "lora" and device == "cuda" and torch.cuda.is_bf16_supported()
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.bfloat16 if frozen else torch.float32,
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        if out_of_memory_cause(error) is not None:
            raise
        raise Unprocessable(
            f"The model {folder.name!r} cannot be loaded: {first_line(error)}",
            "Check that it is a causal language model that the installed transformers library knows.",
        ) from error
    return model


def stored_dtype(folder: Path) -> torch.dtype:
    """The number format of the weights on disk, in which trained ones are saved again; float32 if unsaid."""
    import torch

    config: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    return known.get(str(name), torch.float32)


def first_line(error: BaseException) -> str:
    """The first line of a library's message, short enough for one sentence."""
    text = str(error).strip().splitlines()
    return f"{(text[0] if text else type(error).__name__)[:200].rstrip('.')}."
