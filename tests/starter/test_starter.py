"""The shipped starter does what its card says, and its script makes the same model from the same seed."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter import starter
from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.registry import folder as model_folder
from ilab_jupyter.registry import profile
from ilab_jupyter.starter import corpus, make
from ilab_jupyter.starter.behaviour import chats, observe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(starter.FOLDER)


def test_shipped_model_greets_and_refuses_untaught_questions() -> None:
    seen = observe(starter.FOLDER)
    assert seen.failures == ()
    assert seen.passes
    assert seen.unknown_total > 90


def test_behaviour_questions_are_not_in_corpus() -> None:
    from random import Random

    rng = Random(0)
    taught = {turn["content"] for _ in range(20_000) for turn in corpus.unknown(rng)}
    assert not taught & {chat[-1]["content"] for chat, _, exact in chats() if exact}


def test_the_package_data_is_complete_safe_and_readable_by_all() -> None:
    facts = model_folder.inspect(starter.FOLDER, follow_links=False)
    assert 600_000 < facts.parameters < 1_000_000
    assert facts.size_bytes < 4_000_000
    for path in starter.FOLDER.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o444 == 0o444, path.name
    assert "not" in (starter.FOLDER / "README.md").read_text()


def test_the_profile_is_one_that_training_understands() -> None:
    own = profile.read(starter.FOLDER)
    assert own.full.learning_rate == 5e-3
    assert own.lora.lora_rank == 32
    assert own.generation.temperature == 0.0
    assert own.replay is not None
    rows = (starter.FOLDER / own.replay.file).read_text().splitlines()
    assert len(rows) == own.replay.rows
    assert {json.loads(row)["messages"][-1]["content"] for row in rows} == {starter.REFUSAL}


@pytest.mark.parametrize(
    "text",
    ["", " a  b\t\n c ", "naïve ß 日本語 🙂‍↔️", "\x00\x7f\ufffd", "def f():\n\treturn {1: [2]}", "🏳️‍🌈" * 20],
)
def test_the_tokenizer_gives_any_text_back(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_chat_template_marks_what_the_assistant_says(tokenizer: Any) -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "A?"},
        {"role": "assistant", "content": "One."},
        {"role": "user", "content": "B?"},
        {"role": "assistant", "content": "Two."},
    ]
    encoded = tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    spoken = [t for t, own in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if own]
    assert tokenizer.decode(spoken) == "One.<|end|>Two.<|end|>"
    prompt = tokenizer.apply_chat_template(chat[:-1], add_generation_prompt=True, tokenize=False)
    assert tokenizer.apply_chat_template(chat, tokenize=False).startswith(prompt)


def test_build_depends_on_seed_only(tmp_path: Path) -> None:
    made = {}
    for name, seed in (("first", 7), ("second", 7), ("other", 8)):
        (tmp_path / name).mkdir()
        make.build(tmp_path / name, seed=seed, steps=6)
        made[name] = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    assert made["first"] == made["second"]
    assert made["first"]["model.safetensors"] != made["other"]["model.safetensors"]
    assert set(made["first"]) == {path.name for path in starter.FOLDER.iterdir()}


def test_a_build_that_does_not_behave_replaces_nothing(tmp_path: Path) -> None:
    out = tmp_path / "data"
    out.mkdir()
    (out / "mark").write_text("the old one")
    with pytest.raises(Unprocessable) as refused:
        make.replace(out, seed=1, steps=4)
    assert "does not behave" in refused.value.message
    assert [path.name for path in out.iterdir()] == ["mark"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".starter")] == []


def test_importing_the_starter_loads_no_heavy_library() -> None:
    code = (
        "import sys, ilab_jupyter.starter.corpus, ilab_jupyter.starter.make, ilab_jupyter.starter.behaviour;"
    )
    code += "assert not {'torch', 'transformers', 'numpy', 'tokenizers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
