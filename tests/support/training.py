"""A tiny chat model that can be trained, and eight questions with answers to train it on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.models import SharedFolder

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


@pytest.fixture(scope="session")
def tiny(shared_folder: SharedFolder) -> Path:
    """The folder of `make_trainable`; tests must not write to it."""
    return shared_folder("trainable/tiny", make_trainable)


def make_trainable(folder: Path) -> None:
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
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """The eight pairs as messages JSONL."""
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(conversation(*pair)) + "\n" for pair in PAIRS))
    return file
