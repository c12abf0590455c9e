"""Validation names everything that is wrong, at its row and column, and never runs or holds a file."""

from __future__ import annotations

import io
import json
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.core import Data
from ilab_jupyter.errors import InvalidInput, NotFound, Unprocessable
from ilab_jupyter.progress import Stopped
from ilab_jupyter.registry import jsonl
from ilab_jupyter.training import data as training_data
from tests.curation.making import row, run_folder, write

GOOD = json.dumps(row("hi", "ho")).encode()


def test_valid_dataset_is_reported_with_row_count(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_bytes(GOOD + b"\n\n" + GOOD + b"\r\n" + GOOD)
    found = Data.validate(file)
    assert (found.ok, found.rows, found.wrong_rows, found.problems) == (True, 3, 0, ())
    assert str(found) == "3 rows in 1 file: all can be trained on."
    assert "all can be trained on" in found._repr_html_()


def test_every_problem_is_found_at_column_of_its_value(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    lines = [
        '{"messages": [{"role": "user", "content": 3}, {"role": "robot", "content": "ä"}], "unmask": "yes"}',
        GOOD.decode(),
        '{"messages": "no"}',
        '{"id": 1}',
        "[1]",
        '{"messages": [',
        '{"messages": [ {"content":"x",  "role" : "user"} ,{"role":"assistant","content":"\\ud800"}]}',
    ]
    file.write_text("\n".join(lines), "utf-8")
    found = Data.validate(file)
    assert [(one.row, one.column, one.field) for one in found.problems] == [
        (1, 1 + lines[0].index("3}"), "messages[0].content"),
        (1, 1 + lines[0].index('"robot"'), "messages[1].role"),
        (1, 1 + lines[0].index("[{"), "messages"),
        (1, 1 + lines[0].index('"yes"'), "unmask"),
        (3, 1 + lines[2].index('"no"'), "messages"),
        (4, 1, ""),
        (5, 1, ""),
        (6, 15, ""),
        (7, 1 + lines[6].index('"\\ud800"'), "messages[1].content"),
    ]
    assert (found.rows, found.wrong_rows, found.found, found.ok) == (7, 6, 9, False)
    assert "pairs.jsonl:1:" in str(found)
    assert "lone surrogate" in found.problems[-1].message


def test_validation_and_training_accept_same_rows(tmp_path: Path) -> None:
    """One set of rules: a row is wrong for both, and training names the first problem of it."""
    values: list[Any] = [
        row("a", "b"),
        row("a", " "),
        row("", "b", system=""),
        {"messages": []},
        {"messages": [{"role": "assistant", "content": "x"}], "unmask": 1},
        {"messages": [None, {"role": "system", "content": None}]},
        7,
    ]
    for value in values:
        file = write(tmp_path / "one.jsonl", [value])
        found = Data.validate(file)
        if found.ok:
            assert training_data.check([file]).rows == 1
        else:
            with pytest.raises(Unprocessable) as caught:
                training_data.check([file])
            assert caught.value.message == f"one.jsonl, row 1: {found.problems[0].message}."


def test_only_the_first_problems_are_kept_and_all_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(b"no\n" * 1000)
    found = Data.validate(file, limit=3)
    assert (len(found.problems), found.found, found.wrong_rows) == (3, 1000, 1000)
    assert "... and 997 more" in str(found)
    assert len(Data.validate(file, limit=0).problems) == 0


def test_late_invalid_utf8_is_found_at_row_and_column(tmp_path: Path) -> None:
    file = tmp_path / "far.jsonl"
    with file.open("wb") as stream:
        for _ in range(50_000):
            stream.write(GOOD + b"\n")
        stream.write('{"messages": "äö'.encode() + b'\xff"}\n')
    (problem,) = Data.validate(file).problems
    assert (problem.row, problem.column) == (50_001, 17)
    assert "not UTF-8 at byte 19" in problem.message


def test_one_endless_line_is_named_without_being_held_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "endless.jsonl"
    with file.open("wb") as stream:
        stream.write(GOOD + b'\n{"messages": "')
        stream.truncate(200 * 1024 * 1024)
    tracemalloc.start()
    found = Data.validate(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(one.row, one.message) for one in found.problems] == [
        (2, "the line is longer than 8388608 bytes")
    ]
    assert peak < 4 * jsonl.MAX_LINE


@pytest.mark.parametrize("line", [b"[" * 10_000, b'{"a":' * 10_000, b'{"messages": ' + b"[" * 10_000])
def test_deep_nesting_is_a_problem_not_a_crash(line: bytes, tmp_path: Path) -> None:
    file = tmp_path / "deep.jsonl"
    file.write_bytes(line + b"\n" + GOOD)
    found = Data.validate(file)
    assert (found.rows, found.wrong_rows) == (2, 1)
    assert found.problems[0].row == 1


def _parquet() -> bytes:
    import pyarrow
    from pyarrow import parquet

    sink = io.BytesIO()
    parquet.write_table(pyarrow.table({"messages": ["x"]}), sink)
    return sink.getvalue()


def _arrow() -> bytes:
    import pyarrow

    sink = io.BytesIO()
    table = pyarrow.table({"messages": ["x"]})
    with pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def test_other_file_format_is_named_and_not_loaded(tmp_path: Path) -> None:
    import gzip

    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str, str]]:
            return open, (str(canary), "w")

    disguised = {
        "Python pickle": pickle.dumps(Evil()),
        "Parquet": _parquet(),
        "Arrow": _arrow(),
        "gzip": gzip.compress(GOOD),
    }
    for name, data in disguised.items():
        file = tmp_path / "rows.jsonl"
        file.write_bytes(data)
        (problem,) = Data.validate(file).problems
        assert f"this is a {name} file" in problem.message
    assert not canary.exists()


def test_a_script_is_refused_and_not_run(tmp_path: Path) -> None:
    script = tmp_path / "loader.py"
    script.write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    with pytest.raises(Unprocessable, match=r"loader\.py is no JSON Lines file"):
        Data.validate(script)
    assert not (tmp_path / "canary").exists()


def test_run_is_validated_by_name_and_empty_file_reported(tmp_path: Path) -> None:
    run_folder("run")
    found = Data.validate("run")
    assert ([Path(file.file).name for file in found.files], found.rows) == (
        ["knowledge_train_msgs_T.jsonl", "skills_train_msgs_T.jsonl"],
        3,
    )
    blank = tmp_path / "blank.jsonl"
    blank.write_bytes(b"\n \n")
    assert Data.validate(blank).problems[0].message == "the file has no rows"


def test_markup_and_control_characters_in_a_row_do_nothing(tmp_path: Path) -> None:
    file = tmp_path / "x<script>.jsonl"
    write(file, [{"messages": [{"role": "<img src=x onerror=alert(1)>\x1b[2J", "content": "x"}]}])
    found = Data.validate(file)
    assert "<script>" not in found._repr_html_() and "<img" not in found._repr_html_()
    assert "\x1b" not in str(found)


def test_what_cannot_be_validated_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Data.validate("nothing-there")
    for wrong in (5, [5], [("a", 1)]):
        with pytest.raises(InvalidInput, match="This names no data"):
            Data.validate(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="No data is named"):
        Data.validate([])
    with pytest.raises(InvalidInput, match="limit is -1"):
        Data.validate(write(tmp_path / "a.jsonl", [row("a", "b")]), limit=-1)


class _Stopping:
    stopping = True

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def test_long_validation_stops_on_request(tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    file.write_bytes(GOOD + b"\n" + (GOOD + b"\n") * 600)
    with pytest.raises(Stopped):
        Data.validate(file, reporter=_Stopping())
