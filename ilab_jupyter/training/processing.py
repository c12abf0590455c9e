"""Tokenize messages to disk as instructlab-training's `process_data` does, and report omitted rows."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter import durable, engine
from ilab_jupyter.errors import Conflict, Unprocessable
from ilab_jupyter.progress import Reporter, Stopped
from ilab_jupyter.training import data as training_data
from ilab_jupyter.training import loading
from ilab_jupyter.training.tokens import IGNORED

FILE = "data.jsonl"


class LeftOut(BaseModel):
    """A row that is not in the result, and the reason."""

    model_config = ConfigDict(frozen=True)

    file: str
    row: int
    tokens: int
    reason: str


class Processed(BaseModel):
    """Tokens on disk: JSON Lines of {input_ids, labels, len}, labels -100 where nothing is to be learned."""

    model_config = ConfigDict(frozen=True)

    path: str
    rows: int = Field(description="Rows read.")
    examples: int = Field(description="Lines written; more than one a row under some chat templates.")
    tokens: int
    left_out: tuple[LeftOut, ...]


def process(
    files: Sequence[Path],
    model: Path,
    output_dir: Path,
    *,
    max_seq_len: int,
    min_seq_len: int,
    reporter: Reporter,
) -> Processed:
    """Write `data.jsonl` into `output_dir`: the rows of `min_seq_len` to `max_seq_len` - 1 tokens.

    These are instructlab-training's bounds. Unprocessable where a row is wrong or none is left, Conflict
    where the file exists; Stopped. Nothing half-written is left.
    """
    engine.require("Tokens", "transformers")
    from ilab_jupyter.training.tokens import Encoder

    rows = training_data.check(files).rows
    target = output_dir.expanduser().absolute() / FILE
    if target.exists():
        raise Conflict(f"There is a file {target} already.", "Remove it, or choose another output_dir.")
    target.parent.mkdir(parents=True, exist_ok=True)
    reporter.phase("processing", f"{rows} rows to tokens")
    encoder = Encoder(loading.load_tokenizer(model), max_seq_len)
    left_out, examples, tokens, done = list[LeftOut](), 0, 0, 0
    partial = target.with_name(f".{FILE}.{secrets.token_hex(4)}")
    try:
        with partial.open("w", encoding="utf-8") as stream:
            for conversation in (row for file in files for row in training_data.read(file)):
                if reporter.stopping:
                    raise Stopped("The processing was stopped on request.")
                for rendering in encoder.render(conversation):
                    length = len(rendering.ids)
                    if reason := _why_not(rendering.labels, min_seq_len, max_seq_len):
                        left_out.append(
                            LeftOut(
                                file=conversation.file.name,
                                row=conversation.row,
                                tokens=length,
                                reason=reason,
                            )
                        )
                        continue
                    line = {"input_ids": rendering.ids, "labels": rendering.labels, "len": length}
                    stream.write(json.dumps(line) + "\n")
                    examples, tokens = examples + 1, tokens + length
                done += 1
                reporter.progress(done, rows, examples=examples)
        if not examples:
            raise Unprocessable(
                f"Not one row is left: {left_out[0].reason}.",
                "Raise max_seq_len, or lower min_seq_len.",
            )
        durable.sync(partial)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    if encoder.tally.without_system:
        reporter.warning(
            f"The model's chat template takes no system prompt: {encoder.tally.without_system} rows are "
            "processed without theirs."
        )
    if left_out:
        first = left_out[0]
        reporter.warning(
            f"{len(left_out)} rows are left out; {first.file}, row {first.row}: {first.reason}.",
            "`left_out` of the result names them all.",
        )
    reporter.artifact("file", FILE, target)
    return Processed(path=str(target), rows=rows, examples=examples, tokens=tokens, left_out=tuple(left_out))


def _why_not(labels: Sequence[int], shortest: int, longest: int) -> str:
    if len(labels) >= longest:
        return f"it has {len(labels)} tokens, and max_seq_len={longest} takes {longest - 1}"
    if len(labels) < shortest:
        return f"it has {len(labels)} tokens, fewer than min_seq_len={shortest}"
    return "" if any(label != IGNORED for label in labels) else "nothing in it is to be learned"
