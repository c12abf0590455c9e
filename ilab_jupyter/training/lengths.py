"""Lengths of training rows in tokens, before the engine is loaded.

The tokenizer's own library counts the contents of the messages; what a chat template puts around a turn is
estimated. The training counts exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ilab_jupyter.training import data as training_data
from ilab_jupyter.training.data import Conversation

TOKENS_AROUND_A_TURN = 6
MAX_CHARACTERS = 20_000_000


@dataclass(frozen=True)
class Lengths:
    """Of `rows` rows, `longer` exceed `limit` tokens, and in `unanswered` of them no answer begins within it.

    `whole`: all rows were read, not only the first `MAX_CHARACTERS`.
    """

    limit: int
    rows: int = 0
    longer: int = 0
    unanswered: int = 0
    longest: int = 0
    whole: bool = True


def measure(files: Iterable[Path], model: Path, limit: int) -> Lengths | None:
    """The lengths of the rows of `files` for the model in this folder; None where its tokenizer is not known.

    Unprocessable for a wrong row.
    """
    tokenizer = model / "tokenizer.json"
    if not tokenizer.is_file():
        return None
    try:
        from tokenizers import Tokenizer

        loaded = Tokenizer.from_file(str(tokenizer))
    except Exception:  # what the library raises has no class of its own; the training itself reports it
        return None
    loaded.no_truncation()
    rows = longer = unanswered = longest = characters = 0
    for conversation in (row for file in files for row in training_data.read(file)):
        texts = [message["content"] for message in conversation.messages]
        characters += sum(map(len, texts))
        if characters > MAX_CHARACTERS:
            return Lengths(limit, rows, longer, unanswered, longest, whole=False)
        counts = [
            len(encoded.ids) + TOKENS_AROUND_A_TURN
            for encoded in loaded.encode_batch(texts, add_special_tokens=False)
        ]
        rows += 1
        total = sum(counts)
        longest = max(longest, total)
        longer += total > limit
        unanswered += total > limit and _before_answer(conversation, counts) >= limit
    return Lengths(limit, rows, longer, unanswered, longest)


def _before_answer(conversation: Conversation, counts: list[int]) -> int:
    """Tokens before the first one that would be learned."""
    if conversation.unmask:
        return 0
    roles = [message["role"] for message in conversation.messages]
    first = next(
        position
        for position, role in enumerate(roles)
        if role == "assistant" and position not in conversation.untrained
    )
    return sum(counts[:first]) + TOKENS_AROUND_A_TURN
