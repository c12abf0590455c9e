"""What a word on the line means: a path from the kernel's folder, a name in the registry, or a job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ilab_jupyter import paths
from ilab_jupyter.client.handle import JobHandle
from ilab_jupyter.errors import Conflict, InvalidInput, NotFound, PublicError
from ilab_jupyter.jobs.record import JobFilter
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.jobs.sync import SyncJobs
from ilab_jupyter.registry.datasets import Datasets
from ilab_jupyter.registry.models import Models

_PATHS = {
    "output",
    "output_dir",
    "uri",
    "pdf_models",
    "taxonomy_path",
    "data",
    "tasks_dir",
    "input_questions",
}
_MODELS = {"tokenizer", "embedding_model"}


def absolute(word: str) -> str:
    """The path from the kernel's working folder, `~` expanded; whether it exists is not looked at."""
    return str(paths.given(word).resolve())


def existing(word: str, what: str) -> str:
    """The absolute path of something that is there; NotFound."""
    path = absolute(word)
    if not Path(path).exists():
        raise NotFound(
            f"There is no {what} at {path}.", "Check the path; it is read from the kernel's folder."
        )
    return path


def data(jobs: SyncJobs, words: Iterable[str]) -> list[str]:
    """Paths made absolute, names of datasets as they are, jobs as the dataset that they generated."""
    return [_dataset(jobs, str(word)) for word in words]


def model(jobs: SyncJobs, word: str) -> str:
    """A name in the registry, an absolute path, what a job made, or the word itself (a hub id)."""
    if _known(Models(), word):
        return word
    if Path(absolute(word)).is_dir():
        return absolute(word)
    job = _job(jobs, word)
    if job is None or _is_planned(job, ("train", "model"), word):
        return word
    return _result(job, ("train", "model"), "model")


def newest_dataset(jobs: SyncJobs) -> str:
    """What the newest successful generation made, or the newest dataset on disk; InvalidInput without any."""
    done = jobs.list(JobFilter(kinds=("generate",), states=(JobState.SUCCEEDED,)), limit=1).jobs
    if done and (name := done[0].result.get("dataset")) and _known(Datasets(), str(name)):
        return str(name)
    if (newest := Datasets().newest()) is not None:
        return newest.name
    raise InvalidInput(
        "There is no data to train on.", "Generate some with `%ilab generate`, or name a JSONL file."
    )


def generate_paths(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `generate` with every path absolute; NotFound for a taxonomy that is not there."""
    found = dict(arguments)
    if "taxonomy_path" in found:
        found["taxonomy_path"] = existing(str(found["taxonomy_path"]), "taxonomy")
    pipeline = found.get("pipeline")
    if isinstance(pipeline, str) and "/" in pipeline:
        found["pipeline"] = existing(pipeline, "pipeline folder")
    if found.get("output_dir"):
        found["output_dir"] = absolute(str(found["output_dir"]))
    if isinstance(found.get("documents"), dict):
        found["documents"] = {url: absolute(str(path)) for url, path in found["documents"].items()}
    return found


def folders(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with each path that a job reads or writes absolute; a tokenizer may be a name too."""
    found = dict(arguments)
    for name in _PATHS & found.keys():
        if isinstance(found[name], str):
            found[name] = absolute(found[name])
    for name in _MODELS & found.keys():
        if found[name] is not None and Path(absolute(str(found[name]))).exists():
            found[name] = absolute(str(found[name]))
    return found


def _dataset(jobs: SyncJobs, word: str) -> str:
    if _known(Datasets(), word):
        return word
    if Path(absolute(word)).exists():
        return absolute(word)
    job = _job(jobs, word)
    if job is None:
        raise NotFound(
            f"There is no data {word!r}: no file, no dataset and no job of that name.", "See `%ilab data`."
        )
    if _is_planned(job, ("generate",), word):
        return word
    return _result(job, ("generate",), "dataset")


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
    """Whether a job that has not ended makes a model or dataset of this name: a later job may name it."""
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
