"""An ended job is removed with its folder; a live one is not, and the store stays consistent."""

from __future__ import annotations

import pytest

from ilab_jupyter.errors import Conflict, NotFound
from ilab_jupyter.jobs.local import LocalJobs
from ilab_jupyter.jobs.record import JobSpec
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs


def ended(jobs: SyncJobs) -> str:
    id = jobs.submit(JobSpec(kind="train", name="short", arguments={"max_steps": 2})).id
    for event in jobs.watch(id):
        if event.type == "end":
            return id
    raise AssertionError("the stream ended without an end")


def test_ended_job_is_removed_with_its_folder(scripted_jobs: SyncJobs) -> None:
    id = ended(scripted_jobs)
    service = scripted_jobs.service
    assert isinstance(service, LocalJobs)
    folder = service.folder(id)
    removed = scripted_jobs.remove(id)
    assert removed.id == id and removed.bytes > 0
    assert not folder.exists() and scripted_jobs.list().jobs == []
    with pytest.raises(NotFound):
        scripted_jobs.get(id)
    with pytest.raises(NotFound):
        scripted_jobs.remove(id)
    assert [entry.action for entry in scripted_jobs.audit() if entry.target == id] == ["submit", "remove"]
    # The database is still complete: another process opens it.
    LocalJobs(worker_module="scripted_worker").close()


def test_live_job_is_not_removed(scripted_jobs: SyncJobs) -> None:
    id = scripted_jobs.submit(JobSpec(kind="train", name="slow", arguments={"max_steps": 100})).id
    with pytest.raises(Conflict, match="only an ended job"):
        scripted_jobs.remove(id)
    scripted_jobs.cancel(id)
    for event in scripted_jobs.watch(id):
        if event.type == "end":
            break
    assert scripted_jobs.get(id).state is JobState.CANCELLED
    scripted_jobs.remove(id)


def test_removed_job_of_another_owner_is_not_in_the_audit(scripted_jobs: SyncJobs) -> None:
    scripted_jobs.remove(ended(scripted_jobs))
    other = LocalJobs(owner="another-user", worker_module="scripted_worker")
    try:
        assert [entry for entry in SyncJobs(other).audit() if entry.action in ("submit", "remove")] == []
    finally:
        other.close()


def test_interrupted_removal_leaves_a_usable_store(
    scripted_jobs: SyncJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = ended(scripted_jobs)
    service = scripted_jobs.service
    assert isinstance(service, LocalJobs)
    # As after a kill between the row and the folder.
    monkeypatch.setattr("ilab_jupyter.jobs.store.removal.shutil.rmtree", lambda *_, **__: None)
    scripted_jobs.remove(id)
    assert (service.state.job(id).path).is_dir()
    reopened = LocalJobs(worker_module="scripted_worker")
    try:
        assert SyncJobs(reopened).list().jobs == []
    finally:
        reopened.close()
