"""The settings and what is written about them."""

from __future__ import annotations

import re
from pathlib import Path

from ilab_jupyter.jobs.store.schema import GRACE_SECONDS, SLOTS
from ilab_jupyter.server.app import IlabApp

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"


def described() -> dict[str, str]:
    """Name -> default of each row of the table of settings."""
    table = DOCUMENT.read_text().split("| setting of `c.IlabApp` |")[1].split("\n\n")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE))


def test_every_setting_is_described_and_nothing_else_is() -> None:
    assert set(described()) == set(IlabApp.class_own_traits(config=True))


def test_the_defaults_in_the_document_are_those_of_the_code() -> None:
    traits, payload = IlabApp.class_own_traits(config=True), described()
    for name in ("keep_alive_hours", "max_streams", "max_completions"):
        assert float(payload[name]) == traits[name].default()
    assert payload["stop_jobs"] == f"`{traits['stop_jobs'].default()}`"
    assert (payload["resume_at_start"] == "on") is traits["resume_at_start"].default()
    assert float(payload["grace_seconds"]) == GRACE_SECONDS
    assert payload["slots"] == "`{" + ", ".join(f'"{name}": {count}' for name, count in SLOTS.items()) + "}`"


def test_each_setting_explains_itself() -> None:
    for name, trait in IlabApp.class_own_traits(config=True).items():
        assert len(trait.help) > 40, name
