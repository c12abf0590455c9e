"""Rows of older InstructLab datasets: a message of the role `pretraining` is a rendered conversation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

ROLE = "pretraining"
_WANTED = "<|user|> and <|assistant|>, or <|start_of_role|>user<|end_of_role|>"
_MARKER = re.compile(
    r"<\|(system|user|assistant)\|>\n?|<\|start_of_role\|>(system|user|assistant)<\|end_of_role\|>\n?"
)
_END = re.compile(r"(?:\s*<\|(?:endoftext|end_of_text)\|>)+\s*\Z")


def is_legacy(row: Mapping[str, Any]) -> bool:
    """Whether a message of the row has the role `pretraining`."""
    messages = row.get("messages")
    return isinstance(messages, list) and any(
        isinstance(message, dict) and message.get("role") == ROLE for message in messages
    )


def fault(content: Any) -> str | None:
    """The reason why the content of such a message cannot be parsed; None where it can."""
    if not isinstance(content, str):
        return "is not text"
    roles = [turn["role"] for turn in turns(content)]
    return None if "assistant" in roles else f"of the role {ROLE!r} has no turns, marked by {_WANTED}"


def turns(content: str) -> list[dict[str, str]]:
    """The turns of a rendered conversation, parsed as instructlab-training does, with all their text."""
    parts = _MARKER.split(content)
    found = []
    for first, second, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        found.append({"role": first or second, "content": _END.sub("", text).strip("\n")})
    return found


def converted(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with these turns as messages, and `unmask`: all after the system prompt is learned."""
    messages: list[Any] = []
    for message in row["messages"]:
        if message.get("role") != ROLE:
            messages.append(message)
            continue
        inner = turns(message["content"])
        # only the first message may be the system prompt, which the row may have already
        messages += [turn for turn in inner if turn["role"] != "system" or not messages]
    return {**row, "messages": messages, "unmask": True}
