"""The models on disk: InstructLab's models folder, the built-in starter, and the hub's cache."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ilab_jupyter import paths
from ilab_jupyter.errors import Conflict, NotFound
from ilab_jupyter.registry import folder as model_folder
from ilab_jupyter.registry import publishing
from ilab_jupyter.registry.entries import ModelEntry, modified, why_damaged
from ilab_jupyter.registry.names import (
    HUB_ID,
    check_new,
    existing,
    is_plain_file,
    is_plain_folder,
    parts,
    plain_folder,
)

STARTER = "starter"
SEE = "See `%ilab models` for what there is, or give the path of a model folder."


class Models:
    """Model and adapter folders below `root` (`paths.models_dir()` where None), by name or by `org/name`."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else paths.models_dir()

    def list(self, *, damaged: bool = False) -> list[ModelEntry]:
        """All usable models, built-in ones first, then by name; with `damaged` also those that cannot be
        used, each with the reason in `problem`.
        """
        found = []
        for name, folder in (*_builtins().items(), *self._folders()):
            try:
                entry = self._entry(name, folder)
                entry.model_dump_json()  # what cannot be sent must not take the whole list with it
            except Exception as error:
                if not damaged:
                    continue
                entry = _damaged(name, folder, error)
            found.append(entry)
        return sorted(found, key=lambda entry: (not entry.builtin, entry.name))

    def get(self, name: str) -> ModelEntry:
        """One model by its registry name; NotFound, or Unprocessable where its folder cannot be used."""
        folder = self._find(name)
        if folder is None:
            raise NotFound(f"There is no model {name[:128]!r}.", SEE)
        return self._entry(name, folder)

    def locate(self, name: str) -> Path:
        """The folder of a registry name, also of a damaged model; NotFound."""
        folder = self._find(name)
        if folder is None:
            raise NotFound(f"There is no model {name[:128]!r}.", SEE)
        return folder.absolute()

    def resolve(self, model: str | os.PathLike[str]) -> Path:
        """The checked, absolute folder of a registry name, a folder's path, or a hub id in the hub's cache.

        NotFound where it is none of these; Unprocessable or InvalidInput where it is no usable model.
        """
        text = os.fspath(model)
        if (named := self._find(text)) is not None:
            model_folder.inspect(named, follow_links=text in _builtins())
            return named.absolute()
        if (path := existing(text)) is not None:
            model_folder.inspect(path, follow_links=True)
            return path.resolve()
        if (cached := _hub_snapshot(text)) is not None:
            model_folder.inspect(cached, follow_links=True)
            return cached
        raise NotFound(f"There is no model {text[:128]!r}, neither by name nor as a folder.", SEE)

    def free_name(self, name: str, planned: Collection[str] = ()) -> str:
        """`name`, or the first of `name-2`, `name-3`, ... that is neither a model nor `planned`."""
        number, free = 1, name
        while free in planned or free in _builtins() or os.path.lexists(self.root / free):
            number += 1
            free = f"{name[:120]}-{number}"
        return free

    def check_free(self, name: str) -> str:
        """`name`; InvalidInput where it cannot be a name, Conflict where a model has it."""
        if (free := self.free_name(check_new(name))) != name:
            raise Conflict(f"There is already a model {name!r}.", f"Choose another name: {free} is free.")
        return name

    def staging(self) -> publishing.Staging:
        """A hidden folder on the same disk to write a model into; see `publish`."""
        return publishing.Staging(self.root)

    def publish(self, source: Path | publishing.Staging, name: str, lineage: dict[str, Any]) -> ModelEntry:
        """Make a model folder appear under `name`, whole or not at all, with its lineage beside it.

        A `Staging` is moved; any other folder is copied. Never overwrites: Conflict names a free name.
        """
        self.check_free(name)
        if isinstance(source, publishing.Staging):
            model_folder.inspect(source.folder, follow_links=False)
            appeared = source.appear(self.root / name, lineage)
        else:
            model_folder.inspect(source, follow_links=True)
            with self.staging() as staged:
                staged.copy(source)
                appeared = staged.appear(self.root / name, lineage)
        if not appeared:
            self.check_free(name)
        return self.get(name)

    def made_by(self, job: str) -> ModelEntry | None:
        """The model that a job has published, as its lineage says."""
        return next((entry for entry in self.list() if entry.lineage.get("job") == job), None)

    def _find(self, name: str) -> Path | None:
        builtins = _builtins()
        if name in builtins:
            return builtins[name]
        components = parts(name)
        folder = plain_folder(self.root, components) if components else None
        # `org` of `org/name` is a folder too, but not a model.
        return folder if folder is not None and not _is_organisation(folder) else None

    def _folders(self) -> Iterator[tuple[str, Path]]:
        for folder in _subfolders(self.root):
            if model_folder.is_candidate(folder):
                yield folder.name, folder
            else:
                for inner in _subfolders(folder):
                    if model_folder.is_candidate(inner):
                        yield f"{folder.name}/{inner.name}", inner

    def _entry(self, name: str, folder: Path) -> ModelEntry:
        builtin = name in _builtins()
        # An installer may have linked the package's own files; no other links are followed.
        facts = model_folder.inspect(folder, follow_links=builtin)
        lineage, problem = model_folder.read_lineage(folder)
        base = lineage.get("base")
        return ModelEntry(
            name=name,
            kind=facts.kind,
            path=str(folder.absolute()),
            base=str(base) if base else facts.base,
            architecture=facts.architecture,
            parameters=facts.parameters,
            size_bytes=facts.size_bytes,
            modified_at=modified(folder),
            builtin=builtin,
            lineage=lineage,
            problem=problem,
        )


def _damaged(name: str, folder: Path, error: Exception) -> ModelEntry:
    """The entry of a folder that cannot be used."""
    return ModelEntry(
        name=name,
        kind="adapter" if is_plain_file(folder / "adapter_config.json") else "full",
        path=str(folder.absolute()),
        modified_at=modified(folder),
        problem=why_damaged(error),
    )


def _builtins() -> dict[str, Path]:
    from ilab_jupyter import starter

    return {STARTER: starter.FOLDER} if (starter.FOLDER / "config.json").is_file() else {}


def _subfolders(root: Path) -> Iterator[Path]:
    try:
        names = sorted(entry.name for entry in root.iterdir())
    except OSError:
        return
    for name in names:
        if parts(name, 1) and is_plain_folder(root / name):
            yield root / name


def _is_organisation(folder: Path) -> bool:
    return not model_folder.is_candidate(folder) and any(map(model_folder.is_candidate, _subfolders(folder)))


def _hub_snapshot(hub_id: str) -> Path | None:
    """The newest downloaded snapshot of `org/name` in the hub's cache, without asking the hub."""
    if not HUB_ID.fullmatch(hub_id):
        return None
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    try:
        revision = (repository / "refs" / "main").read_text("ascii").strip()
    except (OSError, UnicodeError):
        return None
    snapshot = repository / "snapshots" / revision
    return snapshot if parts(revision, 1) and snapshot.is_dir() else None
