"""A resumed training reports the damaged checkpoints that it skips."""

from __future__ import annotations

from typing import Any

import pytest

from ilab_jupyter.training.checkpoints import Checkpoints

IDENTITY: dict[str, Any] = {"base": "tiny"}


@pytest.fixture
def kept() -> Checkpoints:
    """Three whole checkpoints of a job."""
    checkpoints = Checkpoints("job1")
    checkpoints.begin(IDENTITY, resume=False)
    for step in (30, 60, 94):
        checkpoints.path(step).mkdir()
        (checkpoints.path(step) / "model.safetensors").write_bytes(b"x" * 100)
        checkpoints.seal(step)
    return checkpoints


def damage(checkpoints: Checkpoints, step: int) -> None:
    (checkpoints.path(step) / "model.safetensors").write_bytes(b"x" * 99)


def test_whole_checkpoint_is_continued_from_without_report(kept: Checkpoints) -> None:
    found = Checkpoints("job1")
    assert found.begin(IDENTITY, resume=True) == kept.path(94)
    assert found.damaged == []


def test_newer_damaged_checkpoint_is_reported(kept: Checkpoints) -> None:
    damage(kept, 94)
    found = Checkpoints("job1")
    assert found.begin(IDENTITY, resume=True) == kept.path(60)
    assert found.damaged == ["checkpoint-94"]
    assert not kept.path(94).exists()


def test_missing_file_counts_as_damage(kept: Checkpoints) -> None:
    (kept.path(94) / "model.safetensors").unlink()
    found = Checkpoints("job1")
    found.begin(IDENTITY, resume=True)
    assert found.damaged == ["checkpoint-94"]


def test_training_without_a_whole_checkpoint_reports_all(kept: Checkpoints) -> None:
    for step in (30, 60, 94):
        damage(kept, step)
    found = Checkpoints("job1")
    assert found.begin(IDENTITY, resume=True) is None
    assert found.damaged == ["checkpoint-30", "checkpoint-60", "checkpoint-94"]


def test_incomplete_checkpoint_is_not_reported_as_damaged(kept: Checkpoints) -> None:
    kept.path(120).mkdir()
    found = Checkpoints("job1")
    assert found.begin(IDENTITY, resume=True) == kept.path(94)
    assert found.damaged == []


def test_older_damaged_checkpoint_is_not_reported(kept: Checkpoints) -> None:
    damage(kept, 30)
    found = Checkpoints("job1")
    assert found.begin(IDENTITY, resume=True) == kept.path(94)
    assert found.damaged == []


@pytest.mark.parametrize("seal", ["[]", "{", '{"model.safetensors": "x"}', "\ud800"])
def test_unreadable_seal_does_not_hide_other_checkpoints(kept: Checkpoints, seal: str) -> None:
    (kept.path(94) / "ilab-complete.json").write_text(seal, errors="surrogatepass")
    found = Checkpoints("job1")
    assert found.begin(IDENTITY, resume=True) == kept.path(60)
    assert found.damaged == ["checkpoint-94"]
