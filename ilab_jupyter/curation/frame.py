"""Convert a dataset to a pandas DataFrame, one row for each conversation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ilab_jupyter import engine
from ilab_jupyter.curation import sources, text
from ilab_jupyter.curation.sources import Sources
from ilab_jupyter.registry.entries import Role
from ilab_jupyter.training.data import Record

if TYPE_CHECKING:
    import pandas

COLUMNS = ("question", "answer", "context", "system", "leaf", "teacher", "unmask", "file", "row")


def to_dataframe(data: Sources, *, roles: Sequence[Role] = sources.TRAINING) -> pandas.DataFrame:
    """Return the rows of `data` as a DataFrame with the columns `COLUMNS`.

    `question` is the last paragraph of the last user turn, `context` the text before it. `leaf` and
    `teacher` are None if the row does not contain them; `row` counts from 1 in its `file`. All rows are held
    in memory. Raises Unprocessable at a row that training would refuse.
    """
    engine.require("A table", "pandas")
    import pandas

    rows = list(_rows(data, roles))
    return pandas.DataFrame(rows, columns=list(COLUMNS)).astype({"unmask": bool, "row": int})


def _rows(data: Sources, roles: Sequence[Role]) -> Iterator[tuple[Any, ...]]:
    for record in sources.records(sources.files(data, roles)):
        conversation = record.conversation
        parts = text.parts(conversation.messages)
        first = conversation.messages[0]
        system = first["content"] if first["role"] == "system" else ""
        metadata = _metadata(record)
        leaf = metadata.get("leaf_node_path") or record.fields.get("leaf_node_path")
        teacher = metadata.get("teacher") or record.fields.get("teacher")
        yield (
            parts.question,
            parts.answer,
            parts.context,
            system,
            leaf,
            teacher,
            conversation.unmask,
            str(conversation.file),
            conversation.row,
        )


def _metadata(record: Record) -> dict[str, Any]:
    """Return the metadata of a row, which InstructLab stores as a JSON string."""
    value = record.fields.get("metadata")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    return value if isinstance(value, dict) else {}
