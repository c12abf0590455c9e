"""`%ilab remove KIND NAME`: confirms, then removes an unused model, dataset or ended job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ilab_jupyter.client import render
from ilab_jupyter.client.handle import JobHandle
from ilab_jupyter.client.removal import remove_dataset, remove_model
from ilab_jupyter.errors import InvalidInput
from ilab_jupyter.jobs.sync import run
from ilab_jupyter.registry import Datasets, Models

if TYPE_CHECKING:
    from ilab_jupyter.jobs.sync import SyncJobs

KINDS = ("model", "dataset", "job")


def remove(jobs: SyncJobs, options: dict[str, Any]) -> None:
    """Remove what the options name and print the freed space.

    Raises InvalidInput if confirmation is not possible, and the errors of the removal itself.
    """
    kind, name = options["kind"], options["name"]
    if kind == "job":
        handle = JobHandle.find(jobs, name)
        job = handle.refresh()
        name = f"{job.id} ({job.name})" if job.name != job.kind else job.id
    elif kind == "model":
        Models().locate(name)
    else:
        Datasets().get(name)
    if not options["yes"] and not _confirmed(kind, name):
        print("Nothing was removed.")
        return
    if kind == "job":
        size = jobs.remove(handle.id).bytes
    elif kind == "model":
        size = run(remove_model(jobs.service, Models(), name)).size_bytes
    else:
        size = run(remove_dataset(jobs.service, Datasets(), name)).size_bytes
    print(f"Removed {kind} {name}: {render.size(size)} freed.")


def _confirmed(kind: str, name: str) -> bool:
    """Whether the user confirms; InvalidInput if this shell cannot prompt, as in a batch run."""
    try:
        answer = input(f"Remove {kind} {name}? This cannot be undone. [y/N] ")
    except (EOFError, NotImplementedError, RuntimeError):
        raise InvalidInput(
            f"{kind.capitalize()} {name} was not removed: this shell cannot prompt for confirmation.",
            "Add --yes.",
        ) from None
    return answer.strip().lower() in ("y", "yes")
