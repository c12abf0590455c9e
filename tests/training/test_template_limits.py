"""A chat template that loops or takes all memory is refused, and named."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.training import data as training_data
from ilab_jupyter.training import tokens
from ilab_jupyter.training.limits import limited

LOOP = "".join("{% for n in range(9999) %}" for _ in range(3)) + "{% endfor %}" * 3


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    messages = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Maren."}]
    file.write_text(json.dumps({"messages": messages}) + "\n")
    return file


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (LOOP, "takes longer than 0.5 s"),
        (
            "{% set ns = namespace(x='a') %}{% for n in range(90) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
            "memory",
        ),
        ("{{ 'a' * 10 ** 10 }}", "memory"),
        ("{{ messages[0].content.ljust(10 ** 10) }}", "memory"),
    ],
)
def test_template_beyond_limits_is_refused(
    template: str, reason: str, tiny: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if template == LOOP:
        monkeypatch.setattr(tokens, "TEMPLATE_SECONDS", 0.5)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = template
    [conversation] = training_data.read(rows)
    with pytest.raises(Unprocessable, match=reason) as refused:
        list(tokens.Encoder(tokenizer, 64).encode(conversation))
    assert "rows.jsonl, row 1" in refused.value.message


def test_timer_of_caller_survives() -> None:
    fired: list[Any] = []
    handler = signal.signal(signal.SIGALRM, lambda *_: fired.append(True))
    before, _ = signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        with limited(5, 10**8):
            pass
        remaining, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        assert 90 < remaining <= 100 and not fired
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, before)
