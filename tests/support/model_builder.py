"""Builds the tiny models of the tests: `python -m tests.support.model_builder GROUP FOLDER`.

A process of its own, so that test processes import torch and transformers only where they compute.
"""

# ruff: noqa: E402 - the environment is prepared before the first heavy import

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from ilab_jupyter.kinds import environment

environment.prepare()

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.support.models import STORIES
from tests.support.training import PAIRS

# Marks the assistant's part of the template, as instruct models do.
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>\n"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|end|>{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def build_chat_model(folder: Path, seed: int) -> None:
    """A Llama of one layer with random weights, a byte tokenizer and a chat template with an end token."""
    letters = ["<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    bpe = Tokenizer(models.BPE({letter: position for position, letter in enumerate(letters)}, []))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(letters),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=4096,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def build_adapter(folder: Path, base: Path, *, dora: bool) -> None:
    """An adapter that changes the answers of `base`."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(5)
    config = LoraConfig(
        r=2,
        lora_alpha=8,
        target_modules=["q_proj", "v_proj"],
        init_lora_weights=False,
        use_dora=dora,
    )
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)


def build_trainable_model(folder: Path) -> None:
    """A Llama of two layers and 64 dimensions with random weights, a BPE tokenizer and a chat template."""
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


def build_sentence_model(folder: Path, seed: int) -> None:
    """A sentence-transformers model whose vectors depend on words and `seed` only."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(STORIES, trainers.WordLevelTrainer(special_tokens=["[UNK]"]))
    torch.manual_seed(seed)
    embedding = StaticEmbedding(tokenizer, embedding_dim=64)
    SentenceTransformer(modules=[embedding], device="cpu").save(str(folder))


def build_language_models(folder: Path) -> None:
    """Everything that needs no sentence-transformers, whose import takes seconds more."""
    build_chat_model(folder / "chat/tiny", seed=1)
    build_chat_model(folder / "chat/other", seed=2)
    build_adapter(folder / "adapter/lora", folder / "chat/tiny", dora=False)
    build_adapter(folder / "adapter/dora", folder / "chat/tiny", dora=True)
    build_trainable_model(folder / "trainable/tiny")


def build_sentence_models(folder: Path) -> None:
    """Two models with different vectors."""
    build_sentence_model(folder / "words", seed=0)
    build_sentence_model(folder / "other-words", seed=1)


GROUPS: dict[str, Callable[[Path], None]] = {
    "language": build_language_models,
    "sentence": build_sentence_models,
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    GROUPS[sys.argv[1]](Path(sys.argv[2]))
