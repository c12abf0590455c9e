"""An adapter becomes a whole model, and a model a GGUF file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ilab_jupyter import paths
from ilab_jupyter.core import Model
from ilab_jupyter.errors import Conflict, InvalidInput, Unavailable, Unprocessable
from ilab_jupyter.registry import Models


@pytest.fixture(params=["lora", "dora"])
def adapter(language_models: Path, request: pytest.FixtureRequest) -> Path:
    """An adapter of tiny in the registry."""
    return Path(shutil.copytree(language_models / "adapter" / request.param, paths.models_dir() / "adapter"))


def test_a_merged_model_says_what_base_and_adapter_said_together(adapter: Path, tiny: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from ilab_jupyter.serving.loading import load

    entry = Model("adapter").merge(name="whole")
    assert (entry.kind, entry.base) == ("full", str(tiny)) and entry == Models().get("whole")
    assert entry.lineage["merged_from"]["adapter"] == "adapter"
    ids = AutoTokenizer.from_pretrained(entry.path)("What is it?", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        whole = AutoModelForCausalLM.from_pretrained(entry.path)(ids).logits
        both = load(adapter, device="cpu").model(ids).logits
        base = AutoModelForCausalLM.from_pretrained(tiny)(ids).logits
    assert torch.allclose(whole, both, atol=1e-5) and not torch.allclose(whole, base, atol=1e-3)
    with pytest.raises(Conflict):
        Model("adapter").merge(name="whole")


def test_a_whole_model_and_a_foreign_adapter_are_not_merged(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="a whole model already"):
        Model(tiny).merge()
    assert not any(path.name.startswith(".staging") for path in paths.models_dir().glob("*"))


def test_without_llama_cpp_it_is_said_what_to_install(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    with pytest.raises(Unavailable, match=r"convert_hf_to_gguf\.py, which is not here") as caught:
        Model(tiny).convert()
    assert "LLAMA_CPP" in caught.value.hint
    with pytest.raises(InvalidInput, match="no quantization"):
        Model(tiny).convert(quantization="Q9")
    with pytest.raises(InvalidInput, match="no conversion"):
        Model(tiny).convert(to="onnx")


def test_failed_converter_leaves_nothing_and_its_output_is_reported(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The programs of a llama.cpp too old for the model: one refuses, one writes something else.
    tools = tmp_path / "llama.cpp"
    tools.mkdir()
    monkeypatch.setenv("LLAMA_CPP", str(tools))
    script = tools / "convert_hf_to_gguf.py"
    script.write_text("raise SystemExit('ERROR: Model NewForCausalLM is not supported')")
    with pytest.raises(Unprocessable, match="NewForCausalLM is not supported"):
        Model(tiny).convert(output_dir=tmp_path / "out")
    script.write_text("import sys; open(sys.argv[3], 'w').write('something')")
    with pytest.raises(Unprocessable, match="no GGUF file"):
        Model(tiny).convert(output_dir=tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []
