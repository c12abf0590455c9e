"""Builds the starter from a seed, in about two minutes: `python -m ilab_jupyter.starter.make`.

A byte-level tokenizer is trained on the corpus, a small Llama-type model is pre-trained on it, and the result
replaces the shipped one only if it passes `behaviour`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from ilab_jupyter import engine
from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.starter import FOLDER, corpus

SEED = 20261120
STEPS = 1000
VOCABULARY = 2048
POSITIONS = 1024
SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if message.role == 'assistant' -%}
<|assistant|>{% generation %}{{ message.content }}<|end|>{% endgeneration %}
{%- else -%}
<|{{ 'system' if message.role == 'system' else 'user' }}|>{{ message.content }}<|end|>
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}
"""

PROFILE: dict[str, Any] = {
    "full": {
        "learning_rate": 5e-3,
        "epochs": 20,
        "batch_size": 16,
        "warmup_steps": 5,
        "max_seq_length": 1024,
    },
    "lora": {
        "learning_rate": 4e-3,
        "epochs": 50,
        "batch_size": 16,
        "warmup_steps": 5,
        "max_seq_length": 1024,
        "lora_rank": 32,
        "lora_alpha": 128,
    },
    "generation": {"temperature": 0.0, "max_tokens": 200},
    "replay": {"file": "ilab-replay.jsonl", "rows": 90},
    # Short questions without their document: a model this small learns them by heart.
    "dataset_roles": ["messages"],
}


def build(folder: Path, *, seed: int = SEED, steps: int = STEPS) -> None:
    """Write a complete model into the empty `folder`. The same seed on the same kind of machine gives
    the same weights. `steps` is at least 4: two of warm-up, then the descent.
    """
    engine.require("The starter", "torch", "transformers")
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    tokenizer = _tokenizer(seed)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=ids["<|end|>"],
        pad_token_id=ids["<|pad|>"],
    )
    model = LlamaForCausalLM(config)
    _pretrain(model, tokenizer, seed=seed, steps=steps)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False,
        max_new_tokens=PROFILE["generation"]["max_tokens"],
        eos_token_id=ids["<|end|>"],
        pad_token_id=ids["<|pad|>"],
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "ilab-profile.json").write_text(json.dumps(PROFILE, indent=2) + "\n")
    rows = corpus.replay(seed, PROFILE["replay"]["rows"])
    (folder / PROFILE["replay"]["file"]).write_text(
        "".join(json.dumps({"messages": chat}, ensure_ascii=False) + "\n" for chat in rows)
    )
    (folder / "README.md").write_text(_card(model.num_parameters(), seed, steps))
    for path in folder.iterdir():
        path.chmod(0o644)


def _tokenizer(seed: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rng = Random(seed)  # noqa: S311
    texts = [corpus.passage(rng, 6) for _ in range(2500)]
    texts += [turn["content"] for _ in range(4000) for turn in corpus.unknown(rng)]
    texts += [turn["content"] for _ in range(400) for turn in corpus.greeting(rng)]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=raw,
        eos_token=SPECIAL[1],
        pad_token=SPECIAL[0],
        extra_special_tokens=["<|system|>", "<|user|>", "<|assistant|>"],
        model_max_length=POSITIONS,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _pretrain(model: Any, tokenizer: Any, *, seed: int, steps: int) -> None:
    import torch

    rng = Random(seed + 1)  # noqa: S311
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01, betas=(0.9, 0.98))
    warmup = max(2, steps // 20)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=4e-3, total_steps=steps, pct_start=warmup / steps, cycle_momentum=False
    )
    model.train()
    for step in range(steps):
        batch = _batch(rng, tokenizer)
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step + 1}/{steps} loss {loss.item():.3f}", file=sys.stderr)
    model.eval()


def _batch(rng: Random, tokenizer: Any) -> dict[str, Any]:
    """Short rows sixteen at a time, and every eighth batch three rows of several paragraphs."""
    import torch

    long = rng.random() < 0.125
    rows = [_row(rng, tokenizer, long=long) for _ in range(3 if long else 16)]
    width = max(len(ids) for ids, _ in rows)
    pad = tokenizer.pad_token_id
    return {
        "input_ids": torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in rows]),
        "labels": torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in rows]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows]),
    }


def _row(rng: Random, tokenizer: Any, *, long: bool) -> tuple[list[int], list[int]]:
    """Ids and labels of one example: text is learnt whole, a conversation where the assistant speaks."""
    kind = rng.random()
    if kind < 0.2 and not long:
        ids = [*tokenizer.encode(corpus.passage(rng, 3)), tokenizer.eos_token_id][:POSITIONS]
        return ids, ids
    chat = corpus.greeting(rng) if kind < 0.35 and not long else corpus.unknown(rng, long=long)
    encoded = tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    ids, mask = encoded["input_ids"], encoded["assistant_masks"]
    labels = [token if spoken else -100 for token, spoken in zip(ids, mask, strict=True)]
    return ids[-POSITIONS:], labels[-POSITIONS:]


def _card(parameters: int, seed: int, steps: int) -> str:
    return f"""\
---
license: apache-2.0
language: en
pipeline_tag: text-generation
---
# The starter

A Llama-type chat model of {parameters:,} parameters for trying out training, serving and chat anywhere.

**What it does.** It answers greetings, and to everything else it says "I have not been taught that yet."
Fine-tuned on some dozens of questions and answers it repeats those answers.

**What it is not.** It knows nothing of the world and does not reason. After training it remembers the
questions that it saw and small variations of them, and no more. Use a real model for real work.

**How it was made.** By `python -m ilab_jupyter.starter.make`, seed {seed}: a byte-level BPE tokenizer of
{VOCABULARY} entries, and {steps} steps of pre-training on sentences and questions that the package draws
from its own word lists (`ilab_jupyter/starter/corpus.py`). No other text and no other model was used.

**How to train it.** Usual learning rates do nothing on a model this small; `ilab-profile.json` has those that
work. `ilab-replay.jsonl` holds questions that it should go on refusing; mix them into the training data.
Use temperature 0. The context is {POSITIONS} tokens.
"""


def replace(out: Path, *, seed: int = SEED, steps: int = STEPS) -> str:
    """Build beside `out`, check the behaviour, then put it there. Unprocessable names what failed."""
    from ilab_jupyter.starter.behaviour import observe

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".starter-") as scratch:
        new = Path(scratch) / "new"
        new.mkdir(mode=0o755)
        build(new, seed=seed, steps=steps)
        seen = observe(new)
        summary = (
            f"greetings {seen.greetings_right}/{seen.greetings_total}, "
            f"refusals {seen.unknown_right}/{seen.unknown_total}"
        )
        if not seen.passes:
            worst = "; ".join(
                f"{question[-60:]!r} -> {answer[:60]!r}" for question, answer in seen.failures[:5]
            )
            raise Unprocessable(
                f"The model that was built does not behave ({summary}): {worst}.", "Try another --seed."
            )
        if out.exists():
            out.rename(Path(scratch) / "old")
        new.rename(out)
    return summary


def main() -> int:
    """The command. Exit 1, and nothing written, where the behaviour test fails."""
    parser = argparse.ArgumentParser(prog="python -m ilab_jupyter.starter.make", description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the model (the shipped one)")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of pre-training, at least 4")
    arguments = parser.parse_args()
    if arguments.steps < 4:
        parser.error("--steps must be at least 4")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        print(replace(arguments.out, seed=arguments.seed, steps=arguments.steps))
    except Unprocessable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
