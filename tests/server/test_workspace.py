"""The configuration and the taxonomy over HTTP, from real files and a real git repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter import paths
from ilab_jupyter.core import Config, Taxonomy


async def test_configuration_is_returned_with_profiles_and_changed(server: Any) -> None:
    missing = await server.http.get("ilab/api/config")
    assert missing.status_code == 404 and "Config.init" in missing.json()["hint"]
    profiles = (await server.http.get("ilab/api/config/profiles")).json()["profiles"]
    Config.init(profile=profiles[0]["name"])
    before = paths.config_file().read_text().splitlines()
    body = {"key": "train.num_epochs", "value": 7}
    changed = (await server.http.patch("ilab/api/config", json=body)).json()
    assert changed["values"]["train"]["num_epochs"] == 7 and changed["path"] == str(paths.config_file())
    assert (await server.http.get("ilab/api/config")).json() == changed
    after = changed["text"].splitlines()
    assert len([line for line, was in zip(after, before, strict=True) if line != was]) == 1
    for wrong in ({"key": "train.num_epoch", "value": 7}, {"key": "train.num_epochs", "value": "many"}, {}):
        refused = await server.http.patch("ilab/api/config", json=wrong)
        assert refused.status_code == 400 and refused.json()["hint"], wrong


async def test_invalid_configuration_error_names_the_line(server: Any) -> None:
    paths.config_file().parent.mkdir(parents=True)
    paths.config_file().write_text("version: 1.0.0\ntrain:\n\tnum_epochs: 3\n")
    payload = await server.http.get("ilab/api/config")
    assert payload.status_code == 422 and "line 3" in payload.json()["message"]


async def test_a_taxonomy_is_shown_compared_and_judged(server: Any, tmp_path: Path) -> None:
    position = Taxonomy.init(tmp_path / "taxonomy")
    leaf = Taxonomy.leaves(position)[0]
    (position / leaf).write_text((position / leaf).read_text().replace("version: 3", "version: 99"))
    query = {"path": str(position)}
    tree = (await server.http.get("ilab/api/taxonomy", params=query)).json()
    assert tree["domains"] and tree["base"]
    diff = (await server.http.get("ilab/api/taxonomy/diff", params=query)).json()
    assert [change["file"] for change in diff["changes"]] == [leaf]
    (finding,) = (await server.http.get("ilab/api/taxonomy/findings", params=query)).json()["findings"]
    assert (finding["file"], finding["severity"]) == (leaf, "error") and finding["line"] >= 1


@pytest.mark.parametrize(
    "query",
    [
        {"path": "/nowhere"},
        {"path": "a\0b"},
        {"path": "~nobody-here/x"},
        {"path": "x" * 5000},
        {"base": "--upload-pack=x"},
    ],
)
async def test_what_is_no_taxonomy_or_revision_is_refused(
    server: Any, tmp_path: Path, query: dict[str, str]
) -> None:
    position = Taxonomy.init(tmp_path / "taxonomy")
    for address in ("taxonomy", "taxonomy/diff", "taxonomy/findings"):
        payload = await server.http.get(f"ilab/api/{address}", params={"path": str(position), **query})
        assert payload.status_code in (400, 404, 422) and payload.json()["hint"], (address, payload.text)
