"""Preview of rows in the model's chat template, with the trained and the truncated parts marked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter import display, engine
from ilab_jupyter.curation import sources
from ilab_jupyter.curation.sources import Sources
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.registry import Models
from ilab_jupyter.registry import profile as model_profile
from ilab_jupyter.training import loading, plan
from ilab_jupyter.training.spec import TrainingArguments
from ilab_jupyter.training.tokens import IGNORED, Encoder, Rendering

Kind = Literal["read", "trained", "cut"]
_COLOURS: dict[Kind, str] = {"read": "inherit", "trained": "#1a7f37", "cut": "#8a8a8a"}


class Span(BaseModel):
    """A piece of text: only read, trained, or truncated at the maximum sequence length."""

    model_config = ConfigDict(frozen=True)

    text: str
    kind: Kind


class PreviewRow(display.Shown, BaseModel):
    """One row in the chat template. Its spans, joined, are the whole text."""

    model_config = ConfigDict(frozen=True)

    file: str
    row: int
    tokens: int = Field(description="Of the whole text, before the cut.")
    trained: int = Field(description="Tokens that the loss counts, after the cut.")
    cut: int = Field(description="Tokens that training leaves out.")
    spans: tuple[Span, ...]

    @property
    def text(self) -> str:
        """The whole text as rendered by the template."""
        return "".join(span.text for span in self.spans)

    def _summary(self) -> str:
        summary = f"{Path(self.file).name}, row {self.row}: {display.counted(self.tokens, 'token')}"
        lost = f", {self.cut:,} cut" if self.cut else ""
        none = "" if self.trained else "; nothing is left to learn, so training leaves the row out"
        return f"{summary}, {self.trained:,} trained{lost}{none}"

    def __str__(self) -> str:
        marks = {"read": "{}", "trained": "⟦{}⟧", "cut": "✂{}✂"}
        text = "".join(marks[span.kind].format(display.safe(span.text)) for span in self.spans)
        return f"{display.safe(self._summary())}\n{text}"

    def _repr_html_(self) -> str:
        return f"<p><b>{display.html(self._summary())}</b></p><pre>{''.join(map(_marked, self.spans))}</pre>"


class Preview(display.Shown, BaseModel):
    """Rows of a dataset as one model reads them."""

    model_config = ConfigDict(frozen=True)

    model: str
    max_seq_length: int = Field(description="Tokens after which training cuts.")
    rows: tuple[PreviewRow, ...]

    def __str__(self) -> str:
        return "\n\n".join([f"{self._summary()} ⟦trained⟧ ✂cut✂", *map(str, self.rows)])

    def _repr_html_(self) -> str:
        legend = "".join(_marked(Span(text=f" {kind} ", kind=kind)) for kind in _COLOURS)
        head = f"<p>{display.html(self._summary())} {legend}</p>"
        return head + "".join(row._repr_html_() for row in self.rows)

    def _summary(self) -> str:
        return f"As {self.model} reads it, up to {display.counted(self.max_seq_length, 'token')} a row."


def preview(
    data: Sources,
    model: str = "starter",
    *,
    rows: int = 5,
    offset: int = 0,
    max_seq_length: int | None = None,
) -> Preview:
    """Return `rows` rows after the first `offset`, rendered and labelled by the code that training uses.

    `model` is a name in the registry or a folder; its template runs in the sandbox of transformers.
    `max_seq_length` defaults to the value that training of this model would use. Raises NotFound;
    InvalidInput for numbers out of range; Unprocessable for an invalid row, or for a model without a template
    or whose template refuses a row.
    """
    if rows < 1 or offset < 0:
        raise InvalidInput("No such rows can be shown.", "Use rows >= 1 and offset >= 0.")
    if max_seq_length is not None and max_seq_length < 1:
        raise InvalidInput(f"max_seq_length is {max_seq_length}.", "Give a number of tokens above 0.")
    folder = Models().resolve(model)
    # for a generated run: the files that this model is trained on
    paths = sources.files(data, model_profile.read(folder).dataset_roles)
    length = max_seq_length or plan.expected_settings(model, TrainingArguments(data=["-"])).max_seq_length
    engine.require("A preview", "transformers")
    encoder = Encoder(loading.load_tokenizer(folder), length)
    shown = [
        _row(str(record.conversation.file), record.conversation.row, rendering, length)
        for record in islice(sources.records(paths), offset, offset + rows)
        for rendering in encoder.render(record.conversation)
    ]
    return Preview(model=model, max_seq_length=length, rows=tuple(shown))


def _row(file: str, number: int, rendering: Rendering, length: int) -> PreviewRow:
    kept = rendering.labels[:length]
    return PreviewRow(
        file=file,
        row=number,
        tokens=len(rendering.ids),
        trained=sum(label != IGNORED for label in kept),
        cut=len(rendering.ids) - len(kept),
        spans=tuple(_spans(rendering, length)),
    )


def _spans(rendering: Rendering, length: int) -> Iterator[Span]:
    """Group adjacent tokens of one kind; characters between two tokens belong to the first."""
    kinds: list[Kind] = [
        "cut" if position >= length else "read" if label == IGNORED else "trained"
        for position, label in enumerate(rendering.labels)
    ]
    starts = [start for start, _ in rendering.offsets]
    begin = 0
    for kind, positions in groupby(range(len(kinds)), kinds.__getitem__):
        last = list(positions)[-1]
        # a character may consist of several tokens; it is shown once, with the first of them
        end = max(begin, starts[last + 1]) if last + 1 < len(starts) else len(rendering.text)
        if end > begin:
            yield Span(text=rendering.text[begin:end], kind=kind)
        begin = end


def _marked(span: Span) -> str:
    text = display.html(span.text)
    if span.kind == "read":
        return text
    style = f"color: {_COLOURS[span.kind]}; background: transparent"
    if span.kind == "trained":
        return f'<mark style="{style}; font-weight: bold">{text}</mark>'
    return f'<del style="{style}">{text}</del>'
