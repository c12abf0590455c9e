"""Chat with a model in this process, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from ilab_jupyter.core import Model
from ilab_jupyter.errors import InvalidInput, NotFound, PublicError


def test_chat_streams_and_repeats_its_answer() -> None:
    model, heard = Model("starter"), list[str]()
    answer = model.chat("What can you do?", temperature=0, max_tokens=24, tell=heard.append)
    assert answer.strip() and "".join(heard) == answer and len(heard) > 1
    turns = [{"role": "user", "content": "What can you do?"}]
    assert model.chat(turns, temperature=0, max_tokens=24) == answer
    assert len(model.chat(turns, temperature=0, max_tokens=1)) < len(answer)
    sampled = [model.chat(turns, temperature=2, seed=seed, max_tokens=24) for seed in (1, 1, 2)]
    assert sampled[0] == sampled[1] != sampled[2]


def test_too_long_conversation_is_refused_and_next_answered() -> None:
    model = Model("starter")
    with pytest.raises(PublicError) as refused:
        model.chat("word " * 100_000)
    assert refused.value.cause == "context_length_exceeded"
    assert model.chat("Hello", max_tokens=4)


@pytest.mark.parametrize(
    "wrong", ["", [], [{"role": "user"}], [{"role": "pirate", "content": "x"}], ["x"], [[]]]
)
def test_invalid_conversation_is_refused_before_model_loads(wrong: Any) -> None:
    model = Model("nothing-of-this-name")
    if wrong == "":
        with pytest.raises(NotFound):
            model.chat("x")
        return
    with pytest.raises(InvalidInput) as refused:
        model.chat(wrong)
    assert refused.value.hint
