"""Removal of models and datasets that no queued or live job uses. The same for magics and REST."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ilab_jupyter.errors import Conflict
from ilab_jupyter.jobs.record import Job, JobFilter
from ilab_jupyter.jobs.service import JobService
from ilab_jupyter.jobs.state import JobState
from ilab_jupyter.registry import Datasets, Models, removal
from ilab_jupyter.registry.entries import Removed

NOT_ENDED = tuple(state for state in JobState if not state.ended)


async def remove_model(jobs: JobService, models: Models, name: str) -> Removed:
    """See `registry.removal`; Conflict also where a queued or live job uses the model."""
    folder = await asyncio.to_thread(models.locate, name)
    await _check_unused(jobs, "model", name, folder)
    return await asyncio.to_thread(removal.remove_model, models, name)


async def remove_dataset(jobs: JobService, datasets: Datasets, name: str) -> Removed:
    """See `registry.removal`; Conflict also where a queued or live job uses the dataset."""
    entry = await asyncio.to_thread(datasets.get, name)
    await _check_unused(jobs, "dataset", name, Path(entry.path))
    return await asyncio.to_thread(removal.remove_dataset, datasets, name)


async def _check_unused(jobs: JobService, what: str, name: str, path: Path) -> None:
    """Conflict where a queued or live job names the model or dataset, its folder or a file below it."""
    cursor: str | None = None
    while True:
        page = await jobs.list(JobFilter(states=NOT_ENDED), cursor=cursor, limit=500)
        for job in page.jobs:
            if _uses(job, name, path):
                raise Conflict(
                    f"The {what} {name!r} is in use by job {job.id} ({job.kind}, {job.state}).",
                    f"Wait for the job, or stop it: %ilab cancel {job.id}",
                )
        if (cursor := page.cursor) is None:
            return


def _uses(job: Job, name: str, path: Path) -> bool:
    arguments = {key: value for key, value in job.spec.arguments.items() if key != "name"}
    return any(text == name or path in (Path(text), *Path(text).parents) for text in _texts(arguments))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
