"""Control characters in worker output, and damaged events, are not shown to readers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ilab_jupyter.client import render
from ilab_jupyter.errors import PublicError
from ilab_jupyter.jobs.logs import events
from ilab_jupyter.jobs.record import JobSpec

EVIL = "a\x1b[31mb\x00c\u202ed\u2066e\x9bf"
BAD = "\x1b\x00\u202e\u2066\x9b"


def clean(text: str) -> bool:
    return not any(character in text for character in BAD)


def test_error_text_has_no_control_characters() -> None:
    error = PublicError(EVIL, EVIL)
    assert clean(str(error)) and clean(repr(error)) and clean(json.dumps(error.to_dict(), ensure_ascii=False))


def test_failed_job_shows_no_control_characters(harness: Any) -> None:
    job = harness.submit(
        ["event", "phase", {"name": EVIL, "message": EVIL}],
        ["event", "warning", {"message": EVIL}],
        ["event", "error", {"cause": "custom", "message": EVIL + "x" * 10_000, "hint": EVIL}],
        ["exit", 1],
    )
    failed = harness.end(job.id)
    assert failed.message is not None and len(failed.message) <= 4000
    shown = [failed.message, failed.hint, render.line(failed), failed.progress.phase]
    shown += [str(event.fields.get("message")) for event in harness.jobs.events(job.id)]
    assert all(clean(str(text)) for text in shown)


@pytest.mark.parametrize("character", [*BAD, "\n", "\u200b", "\ufeff", "\u2028", "\x7f"])
def test_job_name_refuses_invisible_characters(character: str) -> None:
    with pytest.raises(ValueError, match="name"):
        JobSpec(kind="train", name=f"a{character}b")
    assert JobSpec(kind="train", name="Übung \u00bb1\u00ab \U0001f600 कृपया").name


def line(value: str) -> bytes:
    return f'{{"seq": 1, "time": "2026-01-01T00:00:00", "type": "warning", "x": {value}}}'.encode()


@pytest.mark.parametrize("value", ['"\\ud800"', '{"\\udfff": 1}', '["a\\ud83d"]'])
def test_event_with_unpaired_surrogate_can_be_sent(value: str) -> None:
    event = events.parse(line(value))
    assert event is not None
    json.dumps(event, ensure_ascii=False).encode()


def test_deeply_nested_event_is_left_out() -> None:
    assert events.parse(line("[" * 300 + "]" * 300)) is None
    assert events.parse(line("[" * 50 + "]" * 50)) is not None
