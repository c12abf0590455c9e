"""Models, datasets and ended jobs are removed over HTTP; what is in use is not."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from ilab_jupyter import paths, starter


@pytest.fixture
def registry(own_folders: Any) -> None:
    """The models `baker` and `org/hubs`, and the dataset `bread`."""
    for name in ("baker", "org/hubs"):
        shutil.copytree(starter.FOLDER, paths.models_dir() / name)
    folder = paths.datasets_dir() / "bread"
    folder.mkdir(parents=True)
    row = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Berta."}]}
    (folder / "messages_bread.jsonl").write_text(json.dumps(row) + "\n")


async def test_models_and_datasets_are_removed(server: Any, registry: None) -> None:
    for path in ("models/baker", "models/org/hubs", "datasets/bread"):
        answer = await server.http.delete(f"ilab/api/{path}")
        assert answer.status_code == 200 and answer.json()["size_bytes"] > 0
        assert (await server.http.delete(f"ilab/api/{path}")).status_code == 404
    built_in = await server.http.delete("ilab/api/models/starter")
    assert built_in.status_code == 409 and "built in" in built_in.json()["message"]
    for path in ("models/..%2f..%2fetc", "datasets/..%2fmodels", "datasets/%00"):
        assert (await server.http.delete(f"ilab/api/{path}")).status_code == 404


async def test_what_a_job_uses_is_refused_until_it_ends(server: Any, registry: None) -> None:
    arguments = {"model": "baker", "data": ["bread"]}
    await server.http.post("ilab/api/queue/pause", json={})
    answer = await server.http.post("ilab/api/jobs", json={"kind": "train", "arguments": arguments})
    id = answer.json()["id"]
    for path in ("models/baker", "datasets/bread", f"jobs/{id}"):
        refused = await server.http.delete(f"ilab/api/{path}")
        assert refused.status_code == 409 and id in refused.json()["message"]
    await server.http.post(f"ilab/api/jobs/{id}/cancel")
    removed = await server.http.delete(f"ilab/api/jobs/{id}")
    assert removed.status_code == 200 and removed.json()["id"] == id
    assert (await server.http.get(f"ilab/api/jobs/{id}")).status_code == 404
    assert (await server.http.delete("ilab/api/models/baker")).status_code == 200


async def test_job_that_cannot_succeed_is_refused(server: Any, registry: None) -> None:
    async def post(kind: str, **arguments: Any) -> Any:
        return await server.http.post("ilab/api/jobs", json={"kind": kind, "arguments": arguments})

    taken = await post("train", data=["bread"], name="baker")
    assert taken.status_code == 409 and "--name baker-2" in taken.json()["hint"]
    for arguments in ({"data": ["nosuch"]}, {"data": ["bread"], "model": "nosuch"}):
        assert (await post("train", **arguments)).status_code == 404
    assert (await server.http.post("ilab/api/deployments", json={"model": "nosuch"})).status_code == 404
    hub = await post("train", data=["bread"], model="nosuch/model")
    assert hub.status_code == 202 and len(hub.json()["warnings"]) == 1
