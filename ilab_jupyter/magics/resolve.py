"""Resolve a word on the line: a path relative to the kernel's folder, a registry name, or a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ilab_jupyter import paths
from ilab_jupyter.client.handle import JobHandle
from ilab_jupyter.errors import Conflict, InvalidInput, NotFound, PublicError
from ilab_jupyter.jobs.record import JobFilter
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.kinds.catalog import makers
from ilab_jupyter.kinds.kind import Fallback, Resolution
from ilab_jupyter.registry.datasets import Datasets
from ilab_jupyter.registry.models import Models


def absolute(word: str) -> str:
    """The absolute path, relative to the kernel's working folder, with `~` expanded. It need not exist."""
    return str(paths.given(word).resolve())


def existing(word: str, what: str) -> str:
    """The absolute path of an existing file or folder; NotFound."""
    path = absolute(word)
    if not Path(path).exists():
        raise NotFound(
            f"There is no {what} at {path}.", "Check the path; it is relative to the kernel's folder."
        )
    return path


def dataset(jobs: SyncJobs, word: str) -> str:
    """A name in the registry, an absolute path, or the dataset that a job generated; NotFound."""
    if _known(Datasets(), word):
        return word
    if Path(absolute(word)).exists():
        return absolute(word)
    job = _job(jobs, word)
    if job is None:
        raise NotFound(
            f"There is no data {word!r}: no file, no dataset and no job of that name.", "See `%ilab data`."
        )
    if _is_planned(job, makers("dataset"), word):
        return word
    return _result(job, makers("dataset"), "dataset")


def model(jobs: SyncJobs, word: str) -> str:
    """A name in the registry, an absolute path, the model that a job made, or the word itself (a hub id)."""
    if _known(Models(), word):
        return word
    if Path(absolute(word)).is_dir():
        return absolute(word)
    job = _job(jobs, word)
    if job is None or _is_planned(job, makers("model"), word):
        return word
    return _result(job, makers("model"), "model")


def newest_dataset(jobs: SyncJobs) -> str:
    """The dataset of the newest successful generation, or the newest on disk; InvalidInput if none exists."""
    done = jobs.list(JobFilter(kinds=makers("dataset"), states=(JobState.SUCCEEDED,)), limit=1).jobs
    if done and (name := done[0].result.get("dataset")) and _known(Datasets(), str(name)):
        return str(name)
    if (newest := Datasets().newest()) is not None:
        return newest.name
    raise InvalidInput(
        "There is no data to train on.", "Generate some with `%ilab generate`, or name a JSONL file."
    )


def fallback(jobs: SyncJobs, source: Fallback) -> tuple[str, str]:
    """The value for a positional argument that is not given, and a note for the user."""
    if source == "taxonomy":
        return str(paths.taxonomy_dir()), f"Taxonomy: {paths.taxonomy_dir()}"
    newest = newest_dataset(jobs)
    return newest, f"Data: {newest} (the newest)"


def value(jobs: SyncJobs, resolution: Resolution, given: Any, noun: str) -> Any:
    """A value, each item of a list, or each value of a mapping, resolved as its kind declares."""
    if isinstance(given, dict):
        return {key: value(jobs, resolution, one, noun) for key, one in given.items()}
    if isinstance(given, list):
        return [value(jobs, resolution, one, noun) for one in given]
    if not isinstance(given, str):
        return given  # the spec rejects it
    match resolution:
        case "text":
            return given
        case "path":
            return absolute(given)
        case "existing_path":
            return existing(given, noun)
        case "name_or_path":
            return existing(given, noun) if "/" in given else given
        case "hub_model":
            return absolute(given) if Path(absolute(given)).exists() else given
        case "model":
            return model(jobs, given)
        case "dataset":
            return dataset(jobs, given)


def _known(registry: Models | Datasets, name: str) -> bool:
    try:
        registry.get(name)
    except NotFound:
        return False
    except PublicError:
        return True
    return True


def _job(jobs: SyncJobs, word: str) -> JobHandle | None:
    try:
        return JobHandle.find(jobs, word)
    except NotFound:
        return None


def _is_planned(handle: JobHandle, kinds: tuple[str, ...], name: str) -> bool:
    """Whether a job that has not ended makes a model or dataset of this name. A later job may use it."""
    job = handle.refresh()
    return not job.state.ended and job.kind in kinds and job.spec.arguments.get("name") == name


def _result(handle: JobHandle, kinds: tuple[str, ...], key: str) -> str:
    job = handle.refresh()
    if job.kind not in kinds:
        raise InvalidInput(
            f"Job {job.id} is a {job.kind} job, not a {' or '.join(kinds)} job.", "See `%ilab jobs`."
        )
    if job.state is not JobState.SUCCEEDED or key not in job.result:
        raise Conflict(
            f"Job {job.id} has made no {key}: it is {job.state.value}.",
            f"Wait for it with `%ilab attach {job.id} --wait`."
            if not job.state.ended
            else "See `%ilab jobs`.",
        )
    return str(job.result[key])
