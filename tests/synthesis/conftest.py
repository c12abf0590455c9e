"""The sample taxonomy, and a recorder of events."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import events
from tests.support.events import EventRecorder

SAMPLE = Path(__file__).parents[2] / "notebooks" / "taxonomy"


@pytest.fixture(scope="session")
def recorder() -> Callable[..., EventRecorder]:
    """`recorder(stop_after=n)` requests the stop once n answers are there."""

    def make(stop_after: int | None = None) -> EventRecorder:
        return EventRecorder() if stop_after is None else EventRecorder(events.stop_after(stop_after))

    return make


@pytest.fixture(scope="session")
def sample() -> Path:
    """The sample taxonomy: a freeform skill, a grounded skill and a knowledge leaf with its document."""
    return SAMPLE


@pytest.fixture
def skills_only(tmp_path: Path) -> Path:
    """The sample's two skills, which need no document to be read."""
    shutil.copytree(SAMPLE / "compositional_skills", tmp_path / "skills" / "compositional_skills")
    return tmp_path / "skills"
