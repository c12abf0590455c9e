"""A short run of the fuzzing that `make fuzz` does at length."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server import fuzz

pytestmark = pytest.mark.slow


def test_server_keeps_its_openapi_document(tmp_path: Path) -> None:
    outcome = fuzz.run(tmp_path, examples=3, phases="fuzzing", more=["--seed", "7", "--no-shrink"])
    assert outcome.passed, outcome.report
    assert outcome.cases > 100
