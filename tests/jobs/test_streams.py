"""Logs, events, progress and the live stream: nothing lost or repeated, and a final event at the end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.jobs.logs import events
from ilab_jupyter.jobs.logs import reading as logs
from ilab_jupyter.jobs.logs.events import EventTail, EventWriter

TEXT = "aé→🙂\n" * 50


# Logs.


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 7, 64])
def test_pieces_of_any_size_join_to_the_log(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "log"
    path.write_text(TEXT, encoding="utf-8")
    whole, offset = "", 0
    while offset < path.stat().st_size:
        piece = logs.read(path, offset, limit, final=False)
        assert piece.offset == offset and piece.next_offset > offset
        assert "�" not in piece.text
        whole, offset = whole + piece.text, piece.next_offset
    assert whole == TEXT


@pytest.mark.parametrize("back", range(1, 12))
def test_tail_starts_with_a_whole_character(tmp_path: Path, back: int) -> None:
    path = tmp_path / "log"
    path.write_text(TEXT, encoding="utf-8")
    piece = logs.read(path, -back, 1000, final=True)
    assert TEXT.endswith(piece.text) and piece.next_offset == piece.size
    assert piece.size - back <= piece.offset < piece.size - back + 4
    assert logs.read(path, -(10**9), 10**9, final=True).text == TEXT


def test_incomplete_character_waits_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    data = "ab🙂".encode()
    path.write_bytes(data[:-1])
    assert logs.read(path, 0, 100, final=False)[:4] == (0, 2, 5, "ab")
    assert logs.read(path, 2, 100, final=False).next_offset == 2
    assert logs.read(path, 0, 100, final=True)[:4] == (0, 5, 5, "ab�")
    path.write_bytes(data)
    assert logs.read(path, 2, 100, final=False).text == "🙂"


def test_invalid_bytes_are_replaced_without_shifting_offsets(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a\xff\xfe\x80b\xc3\n" * 10)
    whole, offset = "", 0
    while offset < 70:
        piece = logs.read(path, offset, 5, final=True)
        assert piece.next_offset > offset
        whole, offset = whole + piece.text, piece.next_offset
    assert offset == 70 and whole.count("a") == whole.count("b") == whole.count("\n") == 10


# Events.


def test_truncated_line_affects_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    assert [writer.write("phase", name="a"), writer.write("progress", step=1)] == [1, 2]
    writer.close()
    with path.open("ab") as file:
        file.write(b'{"seq": 3, "time": "2026-01-01T00:00')  # a crash in the middle of a line
    writer = EventWriter(path)
    assert writer.write("progress", step=2) == 3
    with path.open("ab") as file:
        file.write(b'not json\n{"seq": "x"}\n[]\n\xff\xfe\n{"seq": 9, "time": "never", "type": "x"}\n')
    assert writer.write("progress", step=3) == 4
    assert [line["seq"] for line in EventTail(path).read()] == [1, 2, 3, 4]
    assert [line["seq"] for line in events.backwards(path)] == [4, 3, 2, 1]


def test_incomplete_line_is_read_once_complete(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    line = b'{"seq": 1, "time": "2026-01-01T00:00:00+00:00", "type": "x"}\n'
    path.write_bytes(line[:20])
    tail = EventTail(path)
    assert tail.read() == []
    with path.open("ab") as file:
        file.write(line[20:])
    assert [event["seq"] for event in tail.read()] == [1] and not tail.changed()


def test_values_without_json_form_are_converted(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    EventWriter(path).write(
        "progress", loss=float("nan"), all=[float("inf"), {"x": float("-inf")}], path=tmp_path
    )
    line = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert (line["loss"], line["all"], line["path"]) == (None, [None, {"x": None}], str(tmp_path))


def test_every_offset_in_a_long_event_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = []
    for seq in range(1, 5001):
        lines.append(
            json.dumps({"seq": seq, "time": "2026-01-01T00:00:00+00:00", "type": "x", "pad": "p" * 90})
        )
        if seq % 97 == 0:
            lines.append("torn" * 300)
    path.write_text("\n".join(lines) + "\n")
    assert path.stat().st_size > 5 * events.TAIL
    for after in (0, 1, 96, 97, 98, 2500, 4998, 4999, 5000, 10**9):
        got = [line["seq"] for line in EventTail(path, after).read(3)]
        assert got == list(range(after + 1, min(after + 4, 5001)))
    assert events.offset_after(path, 4000) > 3 * events.TAIL, "it did not read from the start"


def test_threads_sharing_a_writer_use_each_seq_once(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    writer = EventWriter(tmp_path / "events.jsonl")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: writer.write("x", number=number), range(400)))
    read = EventTail(tmp_path / "events.jsonl").read(1000)
    assert [line["seq"] for line in read] == list(range(1, 401))
    assert {line["number"] for line in read} == set(range(400))


def test_progress_of_running_job_is_its_newest_event(harness: Any, tmp_path: Path) -> None:
    job = harness.submit(
        ["event", "phase", {"name": "training", "message": "Epoch 1"}],
        ["event", "progress", {"step": 1, "total": 4, "loss": 2.5}],
        ["event", "progress", {"step": 2, "total": 4, "loss": 1.5, "eta_seconds": 7.0}],
        *(["print", "now"], ["wait_for", str(tmp_path / "go")]),
        ["event", "phase", {"name": "saving"}],
    )
    while "now" not in harness.log(job.id):
        time.sleep(0.02)
    live = harness.jobs.get(job.id).progress
    assert (live.phase, live.message, live.step, live.total, live.eta_seconds) == (
        "training",
        "Epoch 1",
        2,
        4,
        7.0,
    )
    assert live.fraction == 0.5 and live.metrics == {"loss": 1.5}
    assert harness.jobs.list().jobs[0].progress == live
    (tmp_path / "go").touch()
    ended = harness.end(job.id).progress
    assert (ended.phase, ended.step, ended.total, ended.metrics) == ("saving", 0, None, {"loss": 1.5})


def test_progress_of_another_version_is_accepted(harness: Any) -> None:
    job = harness.submit(["event", "progress", {"step": "one", "total": []}], ["exit", 1])
    assert harness.end(job.id).progress.step == 0
