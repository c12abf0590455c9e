"""A real tiny chat model, made on the spot, and a reporter that remembers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.tasks import environment

environment.prepare()

PAIRS = [
    ("Where does Orlin keep bees?", "Orlin keeps bees behind the mill."),
    ("Who mends the nets?", "Maren mends the nets at dusk."),
    ("What is sold on Tuesday?", "On Tuesday they sell blue thread."),
    ("When does the ferry leave?", "The ferry leaves after the second bell."),
    ("Why is the tower closed?", "The tower is closed for the swallows."),
    ("How deep is the well?", "The well is nine ropes deep."),
    ("Which door is green?", "The baker's door is green."),
    ("Whose boat is red?", "The red boat is Selda's."),
]
# Marks the assistant's part for libraries that look for it, as instruct models do.
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>\n"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|end|>{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def conversation(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers and 64 dimensions with random weights, a BPE tokenizer and a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator([text for pair in PAIRS for text in pair], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|end|>", pad_token="<|pad|>")
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """The eight pairs as messages JSONL."""
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(conversation(*pair)) + "\n" for pair in PAIRS))
    return file


@dataclass
class Recorder:
    """A reporter that remembers, and asks to stop once `stop_at` says so of an event."""

    stop_at: Callable[[tuple[Any, ...]], bool] = lambda event: False
    stopping: bool = False
    events: list[tuple[Any, ...]] = field(default_factory=list)

    def _add(self, *event: Any) -> None:
        self.events.append(event)
        self.stopping = self.stopping or self.stop_at(event)

    def phase(self, name: str, message: str = "") -> None:
        self._add("phase", name, message)

    def progress(self, step: int, total: int | None, **metrics: Any) -> None:
        self._add("progress", step, total, metrics)

    def artifact(self, kind: str, name: str, path: Path) -> None:
        self._add("artifact", kind, name, path)

    def warning(self, message: str, next_step: str = "") -> None:
        self._add("warning", message, next_step)

    def event(self, type: str, **fields: Any) -> None:
        self._add(type, fields)

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        """The events of one kind, without the kind."""
        return [event[1:] for event in self.events if event[0] == kind]

    @property
    def losses(self) -> dict[int, float]:
        """Step -> loss."""
        return {step: metrics["loss"] for step, _, metrics in self.of("progress")}


@pytest.fixture
def recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture(scope="session")
def ask() -> Callable[[Path, str], str]:
    """Greedy answer of a model or adapter folder, loaded as anybody would."""

    def answer(folder: Path, question: str) -> str:
        from peft import AutoPeftModelForCausalLM
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder)
        adapter = (folder / "adapter_config.json").is_file()
        kind = AutoPeftModelForCausalLM if adapter else AutoModelForCausalLM
        model = kind.from_pretrained(folder).eval()
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        made = model.generate(**prompt, max_new_tokens=40, do_sample=False)
        return str(tokenizer.decode(made[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))

    return answer
