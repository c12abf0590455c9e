"""The conversations of a plan as a dataset of tokens and labels on disk."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from datasets import Dataset  # type: ignore[import-untyped]

from ilab_jupyter.errors import Unprocessable
from ilab_jupyter.progress import Reporter
from ilab_jupyter.training import data as training_data
from ilab_jupyter.training.plan import Plan
from ilab_jupyter.training.tokens import Encoder, Tally

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode(
    plan: Plan, tokenizer: PreTrainedTokenizerBase, cache: Path, reporter: Reporter
) -> tuple[Dataset, Tally]:
    """The examples in the order of the files, the replay last. Warns of what had to be cut.

    Unprocessable where no answer is left within max_seq_length. `cache` is emptied first.
    """
    length = plan.settings.max_seq_length
    encoder = Encoder(tokenizer, length)

    def examples() -> Iterator[dict[str, list[int]]]:
        for file in plan.files:
            for conversation in training_data.read(file):
                yield from encoder.encode(conversation)
        if not encoder.tally.examples:
            raise Unprocessable(
                f"No answer lies within the first {length} tokens of any example.",
                f"Raise max_seq_length (the longest example has {encoder.tally.longest} tokens).",
            )
        for conversation in plan.replay:
            yield from encoder.encode(conversation)

    shutil.rmtree(cache, ignore_errors=True)
    # An explicit fingerprint: the library would otherwise hash the generator and its open files.
    dataset = Dataset.from_generator(examples, cache_dir=str(cache), fingerprint=uuid.uuid4().hex)
    tally = encoder.tally
    if tally.without_system:
        reporter.warning(
            f"The model's chat template takes no system prompt: {tally.without_system} examples are trained "
            "without theirs.",
            "Ask the trained model without a system prompt too.",
        )
    if tally.truncated:
        reporter.warning(
            f"{tally.truncated} examples are longer than max_seq_length={length} and were cut; "
            f"{tally.dropped} of them had no answer left and are not trained on.",
            f"max_seq_length={tally.longest} keeps all of them.",
        )
    return dataset, tally
