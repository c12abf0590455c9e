"""Logs, events, progress and the live stream: nothing lost, nothing twice, and an end that says so."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter.errors import InvalidInput, NotFound
from ilab_jupyter.jobs.logs import events
from ilab_jupyter.jobs.logs import reading as logs
from ilab_jupyter.jobs.logs.events import EventTail, EventWriter
from ilab_jupyter.jobs.state import JobState

TEXT = "aé→🙂\n" * 50


# Logs.


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 7, 64])
def test_pieces_of_a_log_put_together_are_the_log_however_small_they_are(tmp_path: Path, limit: int) -> None:
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
def test_a_tail_begins_with_a_whole_letter(tmp_path: Path, back: int) -> None:
    path = tmp_path / "log"
    path.write_text(TEXT, encoding="utf-8")
    piece = logs.read(path, -back, 1000, final=True)
    assert TEXT.endswith(piece.text) and piece.next_offset == piece.size
    assert piece.size - back <= piece.offset < piece.size - back + 4
    assert logs.read(path, -(10**9), 10**9, final=True).text == TEXT


def test_a_letter_that_is_half_written_waits_for_its_rest_but_not_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "log"
    data = "ab🙂".encode()
    path.write_bytes(data[:-1])
    assert logs.read(path, 0, 100, final=False)[:4] == (0, 2, 5, "ab")
    assert logs.read(path, 2, 100, final=False).next_offset == 2
    assert logs.read(path, 0, 100, final=True)[:4] == (0, 5, 5, "ab�")
    path.write_bytes(data)
    assert logs.read(path, 2, 100, final=False).text == "🙂"


def test_bytes_that_are_no_text_are_replaced_and_shift_no_offset(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a\xff\xfe\x80b\xc3\n" * 10)
    whole, offset = "", 0
    while offset < 70:
        piece = logs.read(path, offset, 5, final=True)
        assert piece.next_offset > offset
        whole, offset = whole + piece.text, piece.next_offset
    assert offset == 70 and whole.count("a") == whole.count("b") == whole.count("\n") == 10


def test_a_range_of_a_log_is_what_was_asked_for(harness: Any) -> None:
    job = harness.submit(["lines", 1000])
    harness.end(job.id)
    whole = harness.log(job.id)
    assert whole == "".join(f"line {number}\n" for number in range(1000))
    chunk = harness.jobs.logs(job.id, offset=7, limit=7)
    assert (chunk.text, chunk.offset, chunk.next_offset, chunk.size, chunk.ended) == (
        *("line 1\n", 7, 14, len(whole)),
        False,
    )
    assert (
        harness.jobs.logs(job.id, offset=-9).text == "line 999\n"
        and harness.jobs.logs(job.id, offset=-9).ended
    )
    past = harness.jobs.logs(job.id, offset=10**9)
    assert (past.text, past.offset, past.ended) == ("", len(whole), True)
    with pytest.raises(NotFound):
        harness.jobs.logs(job.id, attempt=2)
    with pytest.raises(InvalidInput):
        harness.jobs.logs(job.id, limit=0)


def test_the_log_of_a_running_job_has_not_ended(harness: Any, tmp_path: Path) -> None:
    job = harness.submit(["print", "x"], ["wait_for", str(tmp_path / "go")])
    deadline = time.monotonic() + 20
    while not harness.log(job.id):
        assert time.monotonic() < deadline
    assert harness.jobs.logs(job.id).ended is False


# Events.


def test_a_torn_line_costs_itself_and_no_other(tmp_path: Path) -> None:
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


def test_a_line_that_is_being_written_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    line = b'{"seq": 1, "time": "2026-01-01T00:00:00+00:00", "type": "x"}\n'
    path.write_bytes(line[:20])
    tail = EventTail(path)
    assert tail.read() == []
    with path.open("ab") as file:
        file.write(line[20:])
    assert [event["seq"] for event in tail.read()] == [1] and not tail.changed()


def test_numbers_without_a_json_form_become_null_and_unknown_objects_text(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    EventWriter(path).write(
        "progress", loss=float("nan"), all=[float("inf"), {"x": float("-inf")}], path=tmp_path
    )
    line = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert (line["loss"], line["all"], line["path"]) == (None, [None, {"x": None}], str(tmp_path))


def test_any_place_in_a_long_file_of_events_is_found(tmp_path: Path) -> None:
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


def test_a_writer_that_is_shared_by_threads_writes_each_number_once(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    writer = EventWriter(tmp_path / "events.jsonl")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: writer.write("x", number=number), range(400)))
    read = EventTail(tmp_path / "events.jsonl").read(1000)
    assert [line["seq"] for line in read] == list(range(1, 401))
    assert {line["number"] for line in read} == set(range(400))


def test_the_progress_of_a_running_job_is_its_newest_word(harness: Any, tmp_path: Path) -> None:
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


def test_progress_of_another_make_is_no_error(harness: Any) -> None:
    job = harness.submit(["event", "progress", {"step": "one", "total": []}], ["exit", 1])
    assert harness.end(job.id).progress.step == 0


# The live stream.


def follow(harness: Any, id: str, **options: Any) -> list[Any]:
    return list(harness.jobs.watch(id, **options))


def test_a_stream_tells_everything_once_in_order_and_ends_with_the_end(harness: Any) -> None:
    job = harness.submit(
        *(["event", "phase", {"name": "a"}], ["lines", 2000], ["sleep", 0.4]),
        *(["event", "progress", {"step": 1, "total": 1}], ["print", "🙂"]),
        ["event", "result", {"result": {"x": 1}}],
    )
    seen = follow(harness, job.id, log_offset=0)
    assert seen[0].type == "state" and seen[0].fields["job"]["id"] == job.id
    assert [event.type for event in seen].count("end") == 1 and seen[-1].type == "end"
    told = [event for event in seen if event.type not in ("state", "log", "end")]
    assert [(event.seq, event.type) for event in told] == [(1, "phase"), (2, "progress"), (3, "result")]
    pieces = [event.fields for event in seen if event.type == "log"]
    assert "".join(piece["text"] for piece in pieces) == harness.log(job.id)
    assert [piece["offset"] for piece in pieces] == [0, *(piece["next_offset"] for piece in pieces[:-1])]
    states = [event.fields["job"]["state"] for event in seen if event.type == "state"]
    assert states[-1] == "SUCCEEDED" and states == sorted(states, key=list(JobState).index)
    assert {key: seen[-1].fields[key] for key in ("state", "exit_code", "cause", "result")} == {
        **{"state": "SUCCEEDED", "exit_code": 0, "cause": None},
        "result": {"x": 1},
    }
    assert seen[-1].seq == 3
    seqs = [event.seq for event in seen]
    assert seqs == sorted(seqs)


def test_a_stream_that_was_dropped_goes_on_from_its_cursors(harness: Any) -> None:
    job = harness.submit(*(["event", "x", {"n": n}] for n in range(20)), ["lines", 500])
    harness.end(job.id)
    first = []
    stream = harness.jobs.watch(job.id, log_offset=0)
    for event in stream:
        first.append(event)
        if event.type == "log":
            break
    stream.close()
    rest = follow(harness, job.id, after=first[-1].seq, log_offset=first[-1].fields["next_offset"])
    both = [event for event in first + rest if event.type == "x"]
    assert [event.fields["n"] for event in both] == list(range(20))
    assert "".join(e.fields["text"] for e in first + rest if e.type == "log") == harness.log(job.id)


def test_a_stream_of_an_ended_job_ends_at_once_and_without_the_log_tells_none(harness: Any) -> None:
    job = harness.submit(["print", "x"], ["exit", 2])
    harness.end(job.id)
    started = time.monotonic()
    seen = follow(harness, job.id)
    assert time.monotonic() - started < 1
    assert [event.type for event in seen] == ["state", "end"]
    assert (seen[-1].fields["state"], seen[-1].fields["exit_code"]) == ("FAILED", 2)


def test_a_stream_of_a_waiting_job_follows_it_through_to_its_end(harness: Any, tmp_path: Path) -> None:
    harness.submit(["wait_for", str(tmp_path / "go")])
    job = harness.submit(["print", "mine"])
    stream = harness.jobs.watch(job.id, log_offset=0)
    assert next(stream).fields["job"]["state"] == "QUEUED"
    (tmp_path / "go").touch()
    assert "".join(event.fields["text"] for event in stream if event.type == "log") == "mine\n"


def test_many_streams_of_one_job_agree(harness: Any) -> None:
    job = harness.submit(["sleep", 0.3], ["lines", 300], ["event", "x", {}])

    async def all_of_them() -> list[str]:
        async def one() -> str:
            return "".join(
                [
                    event.fields["text"] if event.type == "log" else f"<{event.type}>"
                    async for event in harness.local.watch(job.id, log_offset=0)
                    if event.type in ("log", "x", "end")
                ]
            )

        return await asyncio.gather(*(one() for _ in range(20)))

    told = asyncio.run(all_of_them())
    assert len({text.replace("<x>", "") for text in told}) == 1
    assert all(text.count("<x>") == 1 and text.endswith("<end>") for text in told)


@pytest.mark.parametrize(
    ("attempt", "offset", "told"), [(1, 4, "TWO\nthree\n"), (2, 2, "ree\n"), (9, 2, "three\n")]
)
def test_a_stream_goes_on_from_the_attempt_that_its_cursor_names(
    harness: Any, attempt: int, offset: int, told: str
) -> None:
    job = harness.submit([["print", "one"], ["print", "TWO"], ["exit", 1]], [["print", "three"]])
    harness.end(job.id)
    harness.jobs.resume(job.id)
    harness.end(job.id)
    rest = follow(harness, job.id, log_offset=offset, log_attempt=attempt)
    assert "".join(event.fields["text"] for event in rest if event.type == "log") == told


def test_a_stream_goes_on_into_the_next_attempt(harness: Any, tmp_path: Path) -> None:
    job = harness.submit(
        [["print", "one"], ["exit", 1]], [["print", "two"], ["wait_for", str(tmp_path / "go")]]
    )
    harness.end(job.id)
    harness.jobs.resume(job.id)
    stream = harness.jobs.watch(job.id, log_offset=0)
    texts = []
    for event in stream:
        if event.type == "log":
            texts.append(event.fields["text"])
            assert event.fields["attempt"] == 2
            (tmp_path / "go").touch()
    assert "".join(texts) == "two\n"
