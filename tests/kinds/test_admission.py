"""A job that cannot succeed is refused before it is queued, with the same error in every interface."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ilab_jupyter import paths, starter
from ilab_jupyter.errors import Conflict, NotFound, PublicError
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import Job
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.kinds.admission import admit
from ilab_jupyter.kinds.catalog import job_spec
from tests.models.conftest import Hub

ROW = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Berta."}]}


@pytest.fixture
def jobs() -> Iterator[SyncJobs]:
    """A service whose queue is paused: a job that it accepts stays queued."""
    service = LocalJobs(admit=admit)
    jobs = SyncJobs(service)
    jobs.pause("test")
    yield jobs
    service.close()


@pytest.fixture
def data() -> str:
    """A dataset in the registry."""
    file = paths.datasets_dir() / "bread" / "messages_bread.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(ROW) + "\n")
    return "bread"


def submit(jobs: SyncJobs, kind: str, *, key: str | None = None, **arguments: Any) -> Job:
    return jobs.submit(job_spec(kind, arguments), key=key)


def refused(jobs: SyncJobs, kind: str, **arguments: Any) -> PublicError:
    with pytest.raises(PublicError) as caught:
        submit(jobs, kind, **arguments)
    return caught.value


def test_missing_model_is_refused_for_every_kind(jobs: SyncJobs, data: str) -> None:
    for kind, arguments in {
        "train": {"data": [data]},
        "serve": {},
        "evaluate": {"benchmark": "mmlu"},
        "model": {"operation": "merge"},
    }.items():
        error = refused(jobs, kind, model="nosuch", **arguments)
        assert isinstance(error, NotFound) and error.cause == "model_missing" and "'nosuch'" in error.message
    judge = refused(jobs, "evaluate", benchmark="mt_bench", judge={"model": "nosuch"})
    assert judge.cause == "model_missing"
    assert jobs.list().jobs == []


def test_missing_data_taxonomy_and_documents_are_refused(jobs: SyncJobs, data: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    for given in ("nosuch", missing):
        assert refused(jobs, "train", data=[data, given]).cause == "data_missing"
        assert refused(jobs, "curate", operation="dedup", data=[given]).cause == "data_missing"
    assert missing in refused(jobs, "generate", taxonomy_path=missing).message
    assert missing in refused(jobs, "ingest", documents=[missing]).message
    assert missing in refused(jobs, "rag", input_dir=missing).message
    assert jobs.list().jobs == []


def test_taken_name_is_refused_with_runnable_command(jobs: SyncJobs, data: str) -> None:
    shutil.copytree(starter.FOLDER, paths.models_dir() / "baker")
    error = refused(jobs, "train", data=[data], name="baker", epochs=2)
    assert isinstance(error, Conflict) and error.message == "There is already a model 'baker'."
    assert error.hint == (
        "Choose another name: baker-2 is free. Next: %ilab train bread --name baker-2 --epochs 2"
    )
    (paths.models_dir() / "baker-2").mkdir()
    assert "--name baker-3" in refused(jobs, "train", data=[data], name="baker").hint
    dataset = refused(jobs, "generate", taxonomy_path=str(paths.models_dir()), name=data)
    assert dataset.message == "There is already a dataset 'bread'." and "--name bread-2" in dataset.hint


def test_name_of_queued_job_is_taken(jobs: SyncJobs, data: str) -> None:
    submit(jobs, "train", data=[data], name="baker")
    error = refused(jobs, "train", data=[data], name="baker")
    assert error.message == "A job that has not ended makes a model 'baker'."
    assert "--name baker-2" in error.hint
    submit(jobs, "train", data=[data], name="baker-2")
    assert "--name baker-3" in refused(jobs, "train", data=[data], name="baker").hint
    # The name is free for a dataset and for a deployment.
    submit(jobs, "generate", taxonomy_path=str(paths.datasets_dir()), name="baker")
    submit(jobs, "serve", model="starter", name="baker")


def test_later_job_may_name_model_of_queued_job(jobs: SyncJobs, data: str) -> None:
    submit(jobs, "train", data=[data], name="baker")
    (warning,) = submit(jobs, "evaluate", benchmark="mmlu", model="baker").warnings
    assert "'baker' does not exist yet" in warning
    assert refused(jobs, "serve", model="baker").cause == "model_missing"


def test_repeated_key_gives_same_job_without_check(jobs: SyncJobs, data: str) -> None:
    first = submit(jobs, "train", key="k", data=[data], name="baker")
    shutil.copytree(starter.FOLDER, paths.models_dir() / "baker")
    assert submit(jobs, "train", key="k", data=[data], name="baker").id == first.id


def test_hub_model_is_accepted_with_warning_offline(jobs: SyncJobs, data: str) -> None:
    (warning,) = submit(jobs, "train", data=[data], model="nosuch/model").warnings
    assert "HF_HUB_OFFLINE" in warning
    assert jobs.list().jobs[0].warnings == []


def test_hub_is_queried_for_unknown_hub_model(
    jobs: SyncJobs, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    try:
        assert submit(jobs, "serve", model="org/model").warnings == []
        hub.refuse = (404, "RepoNotFound")
        assert refused(jobs, "serve", model="nosuch/model").cause == "model_missing"
        hub.refuse = (503, "")
        (warning,) = submit(jobs, "serve", model="org/model").warnings
        assert "503" in warning
    finally:
        hub.close()
    (warning,) = submit(jobs, "serve", model="org/model").warnings
    assert "does not answer" in warning
