"""Removal of a model or a dataset from disk: its name disappears in one step, then its files."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from ilab_jupyter import durable
from ilab_jupyter.errors import Conflict, Unavailable
from ilab_jupyter.registry.datasets import Datasets
from ilab_jupyter.registry.entries import Removed
from ilab_jupyter.registry.models import Models
from ilab_jupyter.registry.names import is_plain_file
from ilab_jupyter.registry.publishing import PREFIX


def remove_model(models: Models, name: str) -> Removed:
    """Remove a model by its registry name; a damaged one too.

    NotFound where there is none; Conflict for one that ships with the package, and where an adapter in the
    registry has it as its base.
    """
    folder = models.locate(name)
    if not folder.is_relative_to(models.root.absolute()):
        raise Conflict(f"The model {name!r} is built in and cannot be removed.", "See `%ilab models`.")
    adapters = sorted(
        other.name
        for other in models.list()
        if other.kind == "adapter" and other.name != name and other.base in (name, str(folder))
    )
    if adapters:
        raise Conflict(
            f"The adapter {adapters[0]!r} needs the model {name!r}.",
            f"Remove it first: %ilab remove model {adapters[0]}",
        )
    return Removed(name=name, path=str(folder), size_bytes=_remove(models.root, folder))


def remove_dataset(datasets: Datasets, name: str) -> Removed:
    """Remove a dataset by its name; NotFound where there is none."""
    path = Path(datasets.get(name).path)
    return Removed(name=name, path=str(path), size_bytes=_remove(datasets.root, path))


def _remove(root: Path, path: Path) -> int:
    """Delete a file or a folder and return its bytes. A folder is renamed first: no list shows a part.

    A process that is killed meanwhile leaves a hidden folder, which the next publication deletes.
    """
    size = sum(entry.lstat().st_size for entry in (path, *path.rglob("*")) if is_plain_file(entry))
    try:
        if is_plain_file(path):
            path.unlink()
        else:
            aside = root / f"{PREFIX}{uuid.uuid4().hex}"
            path.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        durable.sync(path.parent)
        # `org` of `org/name` goes with its last model.
        if path.parent != root.absolute() and not any(path.parent.iterdir()):
            path.parent.rmdir()
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be removed: {error.strerror}.", "Make its folder one that you may write to."
        ) from None
    return size
