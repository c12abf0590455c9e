"""Convert judged rows to training data: TRL's conversational preference formats, or messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter import display

Format = Literal["dpo", "kto", "sft"]
FORMATS: tuple[Format, ...] = ("dpo", "kto", "sft")
NEEDS: dict[Format, str] = {
    "dpo": "Reject a row with its better answer, or judge a good and a bad answer to one prompt.",
    "kto": "Accept or reject a row first.",
    "sft": "Accept a row first, or reject one with its better answer.",
}

Messages = Sequence[dict[str, str]]


class Exported(display.Shown, BaseModel):
    """A dataset exported from judged rows."""

    model_config = ConfigDict(frozen=True)

    output: str
    format: Format
    rows: int
    judged: int = Field(description="Accepted and rejected rows that it was made of.")

    def __fspath__(self) -> str:
        return self.output

    def __str__(self) -> str:
        judged = display.counted(self.judged, "judged row")
        return f"{display.counted(self.rows, 'row')} for {self.format} from {judged}: {self.output}"


@dataclass(frozen=True)
class Judged:
    """A conversation, whether its last answer is accepted, and a better answer ('' for none)."""

    messages: Messages
    accepted: bool
    better: str


def rows(judged: Sequence[Judged], format: Format) -> Iterator[dict[str, Any]]:
    """Yield the rows of a format, in the order of the judged rows.

    `dpo`: {prompt, chosen, rejected}, TRL's preference format: each rejected answer with its better answer
    and with each good answer to the same prompt. `kto`: {prompt, completion, label}, TRL's unpaired
    preference format. `sft`: {messages} of accepted rows, and of rejected rows with their better answer. All
    formats are conversational: each value is a list of messages, and `prompt` ends with a user turn.
    """
    if format == "dpo":
        return _pairs(judged)
    return _unpaired(judged) if format == "kto" else _corrected(judged)


def split(messages: Messages) -> tuple[Messages, str]:
    """Return the turns before the last answer, and that answer."""
    last = max(position for position, message in enumerate(messages) if message["role"] == "assistant")
    return messages[:last], messages[last]["content"]


def _pairs(judged: Sequence[Judged]) -> Iterator[dict[str, Any]]:
    good: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for one in judged:
        prompt, answer = split(one.messages)
        if chosen := answer if one.accepted else one.better:
            good[repr(prompt)][chosen] = None
    for one in judged:
        prompt, answer = split(one.messages)
        if not one.accepted:
            chosen_ones = dict.fromkeys([*filter(None, [one.better]), *good[repr(prompt)]])
            for chosen in chosen_ones:
                if chosen != answer:
                    better, worse = _assistant(chosen), _assistant(answer)
                    yield {"prompt": list(prompt), "chosen": better, "rejected": worse}


def _unpaired(judged: Sequence[Judged]) -> Iterator[dict[str, Any]]:
    for one in judged:
        prompt, answer = split(one.messages)
        yield {"prompt": list(prompt), "completion": _assistant(answer), "label": one.accepted}
        if one.better:
            yield {"prompt": list(prompt), "completion": _assistant(one.better), "label": True}


def _corrected(judged: Sequence[Judged]) -> Iterator[dict[str, Any]]:
    for one in judged:
        prompt, answer = split(one.messages)
        if wanted := answer if one.accepted else one.better:
            yield {"messages": [*prompt, *_assistant(wanted)]}


def _assistant(answer: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": answer}]
