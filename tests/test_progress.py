"""What a script's output, or a job's log, says of the work."""

from __future__ import annotations

import pytest

from ilab_jupyter.progress import ConsoleReporter


def test_progress_is_printed_first_then_rarely_then_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reporter = ConsoleReporter(interval=60)
    reporter.phase("training", "3 steps")
    for step in (1, 2, 3):
        reporter.progress(step, 3, loss=1.0 / step, block="", eta_seconds=9.6)
    assert capsys.readouterr().err.splitlines() == [
        "[training] 3 steps",
        "training 1 of 3  loss 1  10 s left",
        "training 3 of 3  loss 0.3333  10 s left",
    ]


def test_a_new_phase_prints_its_first_step(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = ConsoleReporter(interval=60)
    for name in ("loading", "saving"):
        reporter.phase(name)
        reporter.progress(1, None)
    assert capsys.readouterr().err.splitlines() == ["[loading]", "loading 1", "[saving]", "saving 1"]
