"""Model folders made by hand, so that the registry's tests need no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import pytest


def safetensors(shape: tuple[int, ...] = (4, 8)) -> bytes:
    """A valid safetensors file with one float32 tensor of zeros."""
    size = 4
    for length in shape:
        size *= length
    header = {"weight": {"dtype": "F32", "shape": list(shape), "data_offsets": [0, size]}}
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + bytes(size)


class MakeModel(Protocol):
    def __call__(self, folder: Path, **config: Any) -> Path: ...


@pytest.fixture
def make_model() -> MakeModel:
    """Makes a model folder; further keywords go into its config.json."""

    def make(folder: Path, **config: Any) -> Path:
        folder.mkdir(parents=True)
        values = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **config}
        (folder / "config.json").write_text(json.dumps(values))
        (folder / "tokenizer.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(safetensors())
        return folder

    return make


@pytest.fixture
def make_adapter() -> MakeModel:
    """Makes an adapter folder; further keywords go into its adapter_config.json."""

    def make(folder: Path, **config: Any) -> Path:
        folder.mkdir(parents=True)
        values = {"base_model_name_or_path": "/models/base", "peft_type": "LORA", **config}
        (folder / "adapter_config.json").write_text(json.dumps(values))
        (folder / "adapter_model.safetensors").write_bytes(safetensors((2, 2)))
        return folder

    return make
