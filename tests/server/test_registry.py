"""Models and datasets over HTTP, from real folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter import paths
from tests.server.in_process import PROBLEM


@pytest.fixture
def dataset(own_folders: Path) -> Path:
    folder = paths.datasets_dir() / "run-1"
    folder.mkdir(parents=True)
    rows = [{"messages": [{"role": "user", "content": f"<b>{number}</b>"}]} for number in range(30)]
    (folder / "skills_train_msgs_1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (paths.datasets_dir() / "data-secret").mkdir()
    (paths.datasets_dir() / "outside").symlink_to("/etc")
    (folder / "link.jsonl").symlink_to("/etc/passwd")
    return folder


async def test_a_dataset_is_listed_described_and_read_in_stretches(server: Any, dataset: Path) -> None:
    (listed,) = (await server.http.get("ilab/api/datasets")).json()["datasets"]
    assert listed["name"] == "run-1"
    entry = (await server.http.get("ilab/api/datasets/run-1")).json()
    assert [file["rows"] for file in entry["files"]] == [30]
    page = (await server.http.get("ilab/api/datasets/run-1/rows?offset=10&limit=5")).json()
    assert page["file"] == "skills_train_msgs_1.jsonl" and page["total"] == 30
    assert [row["value"]["messages"][0]["content"] for row in page["rows"]] == [
        f"<b>{n}</b>" for n in range(10, 15)
    ]


async def test_models_are_listed_and_described(server: Any) -> None:
    models = (await server.http.get("ilab/api/models")).json()["models"]
    assert "starter" in [model["name"] for model in models]
    assert (await server.http.get("ilab/api/models/starter")).json()["builtin"] is True


BAD_NAMES = [
    "..", "../etc", "..%2fetc", "%2e%2e%2f%2e%2e%2fetc", "%252e%252e", "%2fetc%2fpasswd", "outside", "~root",
    "%00",
    "-h", "a;b", "x" * 300, "CON", "run-1%2f..%2fdata-secret", "RUN-1 ", "%ff",
    "file:%2f%2f%2fetc", "nothing",
]  # fmt: skip


async def test_a_name_never_leads_out_of_the_registry(server: Any, dataset: Path, tmp_path: Path) -> None:
    for name in BAD_NAMES:
        for path in (
            f"ilab/api/models/{name}",
            f"ilab/api/datasets/{name}",
            f"ilab/api/datasets/{name}/rows",
        ):
            answer = await server.http.get(path)
            assert answer.status_code in (400, 404), (path, answer.status_code)
            assert set(answer.json()) == PROBLEM, path
            assert str(tmp_path) not in answer.text and not server.discloses_path(answer.text), path
            assert "root:" not in answer.text, path
    for file in ("link.jsonl", "../x.jsonl", "/etc/passwd", "nothing.jsonl", "x" * 250):
        answer = await server.http.get("ilab/api/datasets/run-1/rows", params={"file": file})
        assert answer.status_code in (400, 404), file
        assert "root:" not in answer.text
    for query in ("offset=-1", "limit=0", "limit=5000", "offset=x"):
        assert (await server.http.get(f"ilab/api/datasets/run-1/rows?{query}")).status_code == 400
