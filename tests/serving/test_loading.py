"""Which model folders are served and which are refused before anything in them can run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import NotFound, PublicError, Unprocessable
from ilab_jupyter.serving.loading import load
from ilab_jupyter.starter import FOLDER, REFUSAL
from tests.support.models import SharedFolder

UNKNOWN = [{"role": "user", "content": "What is the capital of Portugal?"}]
TAUGHT = "Lisbon, said the adapter."


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the starter that a test may spoil."""
    return Path(shutil.copytree(FOLDER, tmp_path / "model"))


@pytest.fixture(scope="session")
def adapter(shared_folder: SharedFolder) -> Path:
    """A LoRA adapter on the starter that was taught one answer."""
    return shared_folder("serving/adapter", make_adapter)


def make_adapter(folder: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer: Any = AutoTokenizer.from_pretrained(FOLDER)
    base: Any = AutoModelForCausalLM.from_pretrained(str(FOLDER))
    peft: Any = get_peft_model(
        base, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    chat = [*UNKNOWN, {"role": "assistant", "content": TAUGHT}]
    encoded = tokenizer.apply_chat_template(
        chat, return_dict=True, return_assistant_tokens_mask=True, return_tensors="pt"
    )
    labels = encoded["input_ids"].masked_fill(encoded["assistant_masks"] == 0, -100)
    optimizer = torch.optim.AdamW(peft.parameters(), lr=1e-2)
    for _ in range(60):
        peft(input_ids=encoded["input_ids"], labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    peft.save_pretrained(folder)


def ask(running: Any) -> str:
    answer = running.post("chat/completions", {"model": running.endpoint.model, "messages": UNKNOWN})
    return str(answer.json()["choices"][0]["message"]["content"])


def test_an_adapter_is_served_on_its_base(adapter: Path, serve_model: Callable[..., Any]) -> None:
    with serve_model(adapter, name="tuned") as running:
        assert ask(running) == TAUGHT
    with serve_model(FOLDER, name="base") as running:
        assert ask(running) == REFUSAL


def test_adapter_finds_starter_after_environment_moved(adapter: Path, tmp_path: Path) -> None:
    for given in ("starter", "/gone/site-packages/ilab_jupyter/starter/data"):
        copy = Path(shutil.copytree(adapter, tmp_path / given.replace("/", "-")))
        change(copy / "adapter_config.json", base_model_name_or_path=given)
        assert load(copy, device="cpu").chats


@pytest.mark.parametrize("given", ["/etc", "../../etc", "/gone/model", "~", "no-such-model", "\0", None])
def test_an_adapter_whose_base_is_no_model_is_refused(
    adapter: Path, tmp_path: Path, given: str | None
) -> None:
    copy = Path(shutil.copytree(adapter, tmp_path / "copy"))
    change(copy / "adapter_config.json", base_model_name_or_path=given)
    with pytest.raises(PublicError):
        load(copy, device="cpu")


def test_an_adapter_that_does_not_fit_its_base_is_refused(
    adapter: Path, babbler: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(adapter, tmp_path / "copy"))
    change(copy / "adapter_config.json", base_model_name_or_path=str(babbler))
    with pytest.raises(Unprocessable) as refused:
        load(copy, device="cpu")
    assert "cannot be loaded" in refused.value.message


class Canary:
    def __init__(self, position: Path) -> None:
        self.position = position

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.position),))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_pickled_weights_are_refused_and_never_opened(model: Path, tmp_path: Path, name: str) -> None:
    (model / "model.safetensors").unlink()
    canary = tmp_path / "canary"
    (model / name).write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(Unprocessable) as refused:
        load(model, device="cpu")
    assert "pickle" in str(refused.value)
    assert not canary.exists()


def test_a_pickled_adapter_is_refused_and_never_opened(adapter: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(adapter, tmp_path / "copy"))
    (copy / "adapter_model.safetensors").unlink()
    canary = tmp_path / "canary"
    (copy / "adapter_model.bin").write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(Unprocessable):
        load(copy, device="cpu")
    assert not canary.exists()


def test_code_of_the_models_own_is_never_run(model: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (model / "modeling_own.py").write_text(f"import os\nos.mkdir({str(canary)!r})\nclass Own: pass\n")
    change(
        model / "config.json",
        auto_map={"AutoModelForCausalLM": "modeling_own.Own", "AutoConfig": "modeling_own.Own"},
        model_type="own",
    )
    with pytest.raises(Unprocessable):
        load(model, device="cpu")
    assert not canary.exists()


def test_torn_weights_no_tokenizer_and_broken_json_are_refused(model: Path) -> None:
    whole = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Unprocessable):
        load(model, device="cpu")
    (model / "model.safetensors").write_bytes(b"\xff" * 8 + whole[8:])
    with pytest.raises(Unprocessable):
        load(model, device="cpu")
    (model / "model.safetensors").write_bytes(whole)
    (model / "config.json").write_text("{")
    with pytest.raises(Unprocessable):
        load(model, device="cpu")
    shutil.copy(FOLDER / "config.json", model)
    (model / "tokenizer.json").unlink()
    with pytest.raises(Unprocessable) as refused:
        load(model, device="cpu")
    assert "tokenizer" in str(refused.value)


def test_a_folder_that_does_not_exist_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load(tmp_path / "nothing", device="cpu")


def test_a_model_without_a_chat_template_only_completes(model: Path, serve_model: Callable[..., Any]) -> None:
    (model / "chat_template.jinja").unlink()
    with serve_model(model) as running:
        refused = running.post("chat/completions", {"model": "model", "messages": UNKNOWN})
        assert refused.status_code == 400
        assert "no chat template" in refused.json()["error"]["message"]
        assert running.post("completions", {"model": "model", "prompt": "The oak"}).status_code == 200


def test_a_template_that_refuses_a_conversation_says_why(
    model: Path, serve_model: Callable[..., Any]
) -> None:
    (model / "chat_template.jinja").write_text("{{ raise_exception('Turns must alternate') }}")
    with serve_model(model) as running:
        refused = running.post("chat/completions", {"model": "model", "messages": UNKNOWN})
    assert refused.status_code == 400
    assert "Turns must alternate" in refused.json()["error"]["message"]


def test_a_template_cannot_reach_out_of_its_sandbox(model: Path, serve_model: Callable[..., Any]) -> None:
    (model / "chat_template.jinja").write_text(
        "{{ messages.__class__.__mro__[1].__subclasses__() }}{{ cycler.__init__.__globals__.os.getcwd() }}"
    )
    with serve_model(model) as running:
        refused = running.post("chat/completions", {"model": "model", "messages": UNKNOWN})
    assert refused.status_code == 400
    assert "/" not in refused.json()["error"]["message"]


def change(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))
