"""Fixtures for trainings in the test's process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ilab_jupyter.kinds import environment
from tests.support.events import EventRecorder
from tests.support.training import PAIRS, conversation, pairs, tiny

__all__ = ["PAIRS", "conversation", "pairs", "tiny"]

environment.prepare()


@pytest.fixture(scope="session")
def one_thread() -> None:
    """Every training needs this; tests that only read data do not import torch for it."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def recorder(one_thread: None) -> type[EventRecorder]:
    """The reporter of a training in this process."""
    return EventRecorder


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
