"""Labels of conversations under the chat templates of common models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.training.data import Conversation
from ilab_jupyter.training.tokens import IGNORED, Encoder

SYSTEM = {"role": "system", "content": "Be brief."}
TURNS = [
    {"role": "user", "content": "Where does Orlin keep bees?"},
    {"role": "assistant", "content": "Behind the mill."},
    {"role": "user", "content": "And naïve ünïcode?"},
    {"role": "assistant", "content": "Ça va, 蜂蜜 \N{HONEYBEE}."},
]
# ChatML without marks; one that shortens earlier answers, as thinking models do; one without system prompts.
CHATML = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
FORGETFUL = (
    "{% for m in messages %}<|{{ m.role }}|>"
    "{% if m.role == 'assistant' and not loop.last %}...{% else %}{{ m.content }}{% endif %}<|end|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
THINKING = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>(thought){% endif %}"
)
STRICT = "{% if messages[0].role == 'system' %}{{ raise_exception('no system prompt') }}{% endif %}" + CHATML


def load_tokenizer(tiny: Path) -> Any:
    # Imported here: every process of a run collects this module.
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny)


def encoder(tiny: Path, template: str | None = None, length: int = 256) -> Encoder:
    tokenizer = load_tokenizer(tiny)
    if template is not None:
        tokenizer.chat_template = template
    return Encoder(tokenizer, length)


def encode(made: Encoder, *messages: dict[str, str], unmask: bool = False) -> list[dict[str, list[int]]]:
    return list(made.encode(Conversation(tuple(messages), unmask, Path("pairs.jsonl"), 7)))


def learned(made: Encoder, example: dict[str, list[int]]) -> str:
    return str(made._tokenizer.decode([label for label in example["labels"] if label != IGNORED]))


def test_assistant_turns_are_learned_with_end_tokens(tiny: Path) -> None:
    made = encoder(tiny, CHATML)
    (example,) = encode(made, SYSTEM, *TURNS)
    assert learned(made, example) == "Behind the mill.<|end|>\nÇa va, 蜂蜜 \N{HONEYBEE}.<|end|>\n"
    rendered = made._tokenizer.apply_chat_template([SYSTEM, *TURNS], tokenize=False)
    assert made._tokenizer.decode(example["input_ids"]) == rendered


def test_labels_agree_with_generation_markers_of_template(tiny: Path) -> None:
    made = encoder(tiny)
    (example,) = encode(made, SYSTEM, *TURNS)
    expected: dict[str, Any] = made._tokenizer.apply_chat_template(
        [SYSTEM, *TURNS], return_dict=True, return_assistant_tokens_mask=True
    )
    assert example["input_ids"] == expected["input_ids"]
    mine = [label != IGNORED for label in example["labels"]]
    # The template's marks leave out the line end after the answer; everything else is the same.
    newline = made._tokenizer.encode("\n", add_special_tokens=False)
    for position, (own, theirs) in enumerate(zip(mine, expected["assistant_masks"], strict=True)):
        assert own == bool(theirs) or example["input_ids"][position : position + 1] == newline


def test_template_that_shortens_turns_gives_example_per_turn(tiny: Path) -> None:
    made = encoder(tiny, FORGETFUL)
    examples = encode(made, *TURNS)
    assert [learned(made, example) for example in examples] == [
        "Behind the mill.<|end|>",
        "Ça va, 蜂蜜 \N{HONEYBEE}.<|end|>",
    ]
    assert "..." in made._tokenizer.decode(examples[1]["input_ids"])
    assert made.tally.examples == 2


def test_prompt_longer_than_finished_turn_is_encoded(tiny: Path) -> None:
    made = encoder(tiny, THINKING)
    (example,) = encode(made, *TURNS[:2])
    assert learned(made, example) == "Behind the mill.<|end|>"


def test_unmask_row_is_learned_without_system_prompt(tiny: Path) -> None:
    made = encoder(tiny, CHATML)
    (example,) = encode(made, SYSTEM, *TURNS[:2], unmask=True)
    assert learned(made, example) == (
        "<|end|>\n<|user|>Where does Orlin keep bees?<|end|>\n<|assistant|>Behind the mill.<|end|>\n"
    )


def test_long_rows_are_truncated_or_dropped_and_counted(tiny: Path) -> None:
    made = encoder(tiny, CHATML)
    (whole,) = encode(made, *TURNS[:2])
    prompt = next(position for position, label in enumerate(whole["labels"]) if label != IGNORED)
    made = encoder(tiny, CHATML, length=prompt + 2)
    (cut,) = encode(made, *TURNS[:2])
    assert cut == {"input_ids": whole["input_ids"][: prompt + 2], "labels": whole["labels"][: prompt + 2]}
    made._max_length = prompt
    assert encode(made, *TURNS[:2]) == []
    assert (made.tally.examples, made.tally.truncated, made.tally.dropped) == (1, 2, 1)
    assert made.tally.longest == len(whole["input_ids"])


def test_a_conversation_that_the_template_refuses_names_its_row(tiny: Path) -> None:
    with pytest.raises(Unprocessable, match=r"pairs\.jsonl, row 7: .*no such turns"):
        encode(encoder(tiny, "{{ raise_exception('no such turns') }}"), SYSTEM, *TURNS)


def test_missing_system_role_in_template_is_counted(tiny: Path) -> None:
    made = encoder(tiny, STRICT)
    (example,) = encode(made, SYSTEM, *TURNS[:2])
    assert learned(made, example) == "Behind the mill.<|end|>\n"
    assert made.tally.without_system == 1


def test_a_model_without_a_template_is_refused(tiny: Path) -> None:
    tokenizer = load_tokenizer(tiny)
    tokenizer.chat_template = None
    with pytest.raises(Unprocessable, match="no chat template"):
        Encoder(tokenizer, 64)
