"""The datasets on disk: a run's dated folder or a single JSONL file below InstructLab's datasets folder."""

from __future__ import annotations

import builtins
import os
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from ilab_jupyter import paths
from ilab_jupyter.errors import InvalidInput, NotFound, Unprocessable
from ilab_jupyter.registry import jsonl
from ilab_jupyter.registry.entries import (
    DatasetEntry,
    DatasetFile,
    DatasetRow,
    DatasetRows,
    Role,
    modified,
    why_damaged,
)
from ilab_jupyter.registry.folder import read_lineage
from ilab_jupyter.registry.names import (
    existing,
    is_plain_file,
    is_plain_folder,
    open_below,
    parts,
    plain_folder,
)

# The names that instructlab-sdg gives its files.
ROLES: tuple[tuple[str, Role], ...] = (
    ("skills_train_msgs_", "skills"),
    ("knowledge_train_msgs_", "knowledge"),
    ("messages_", "messages"),
    ("train_", "train"),
    ("test_", "test"),
)
SEE = "See `%ilab data` for what there is, or give the path of a messages JSONL file."
MAX_ROWS = 1000
MAX_SHOWN = 262_144


class Datasets:
    """Datasets below `root` (`paths.datasets_dir()` where None). Links below it are never followed."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else paths.datasets_dir()

    def list(self) -> list[DatasetEntry]:
        """All datasets with at least one JSONL file, newest first. `problem` says what of one is damaged."""
        found = [entry for name in _names(self.root) if (entry := self._listed(name)) is not None]
        return sorted(found, key=lambda entry: (entry.created_at, entry.name), reverse=True)

    def newest(self) -> DatasetEntry | None:
        """The newest one that can be trained on; None where there is none."""
        roles = {"skills", "knowledge", "messages", "train"}
        usable = (one for one in self.list() if not any(file.problem for file in one.files))
        return next((one for one in usable if roles & {file.role for file in one.files}), None)

    def get(self, name: str) -> DatasetEntry:
        """One dataset by the name of its folder or file; NotFound."""
        entry = self._entry(name) if parts(name, 1) else None
        if entry is None:
            raise NotFound(f"There is no dataset {name[:128]!r}.", SEE)
        return entry

    def free_name(self, name: str, planned: Collection[str] = ()) -> str:
        """`name`, or the first of `name-2`, `name-3`, ... that is neither a dataset nor `planned`."""
        number, free = 1, name
        while free in planned or os.path.lexists(self.root / free):
            number += 1
            free = f"{name[:120]}-{number}"
        return free

    def resolve(
        self, data: str | os.PathLike[str], roles: Sequence[Role] = ("skills", "knowledge")
    ) -> builtins.list[Path]:
        """The JSONL training files of a dataset's name, of a folder or of a file, in a fixed order.

        Of a generated run these are its files with one of `roles`. NotFound where there is nothing
        of that name; Unprocessable for a recipe, another kind of file, or no row to train on.
        """
        text = os.fspath(data)
        named = self.root / text if parts(text, 1) else None
        path: Path | None = named
        if named is None or not (is_plain_file(named) or is_plain_folder(named)):
            path = existing(text)
        if path is not None and path.is_dir():
            return _training_files(path, roles)
        if path is None or not path.is_file():
            raise NotFound(f"There is no dataset {text[:128]!r}, neither by name nor as a file.", SEE)
        _check_file(path)
        return [path.absolute()]

    def preview(self, name: str, file: str, *, offset: int = 0, limit: int = 20) -> DatasetRows:
        """`limit` rows (at most 1000) of one file, after the first `offset`; a row that is wrong says why."""
        if offset < 0 or not 1 <= limit <= MAX_ROWS:
            raise InvalidInput(
                "This stretch of rows cannot be shown.", f"Use offset >= 0 and limit 1 to {MAX_ROWS}."
            )
        entry = self.get(name)
        known = next((known for known in entry.files if known.name == file), None)
        if known is None:
            raise NotFound(
                f"There is no file {file[:128]!r} in dataset {name!r}.", "List the dataset to see its files."
            )
        components = (name,) if is_plain_file(self.root / name) else (name, file)
        rows = []
        with open_below(self.root, components) as stream:
            for number, line in jsonl.lines(stream, MAX_SHOWN):
                if number > offset:
                    rows.append(_row(number, line))
                if number >= offset + limit:
                    break
        return DatasetRows(name=name, file=file, offset=offset, total=known.rows, rows=rows)

    def _listed(self, name: str) -> DatasetEntry | None:
        try:
            entry = self._entry(name)
            if entry is not None:
                entry.model_dump_json()  # what cannot be sent must not take the whole list with it
        except Exception as error:
            path = self.root / name
            return DatasetEntry(
                name=name,
                path=str(path.absolute()),
                created_at=modified(path),
                size_bytes=0,
                files=[],
                problem=why_damaged(error),
            )
        return entry

    def _entry(self, name: str) -> DatasetEntry | None:
        path = self.root / name
        folder = plain_folder(self.root, (name,))
        if folder is not None:
            files = [_file(folder, found) for found in _names(folder) if found.endswith(".jsonl")]
        elif name.endswith(".jsonl") and is_plain_file(path):
            files = [_file(self.root, name)]
        else:
            return None
        known = [file for file in files if file is not None]
        if not known:
            return None
        described, problem = read_lineage(folder) if folder is not None else ({}, "")
        return DatasetEntry(
            name=name,
            path=str(path.absolute()),
            created_at=modified(path),
            size_bytes=sum(file.size_bytes for file in known),
            files=known,
            lineage=described,
            problem=next((f"{file.name}: {file.problem}" for file in known if file.problem), problem),
        )


def _names(folder: Path) -> Iterator[str]:
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return
    yield from (name for name in names if parts(name, 1))


def _file(folder: Path, name: str) -> DatasetFile | None:
    path = folder / name
    if not is_plain_file(path):
        return None
    status = path.stat()
    rows, messages, problem = 0, False, ""
    try:
        rows, messages = _read(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        problem = why_damaged(error)
    role: Role = next(
        (role for start, role in ROLES if name.startswith(start)), "messages" if messages else "other"
    )
    return DatasetFile(name=name, role=role, rows=rows, size_bytes=status.st_size, problem=problem)


@lru_cache(maxsize=4096)
def _read(path: Path, modified: int, size: int) -> tuple[int, bool]:
    """(rows, whether the first one has messages) of a file; read again only when its time or size changes."""
    with path.open("rb") as stream:
        first = next(jsonl.lines(stream, MAX_SHOWN), (0, b""))[1]
        stream.seek(0)
        rows = jsonl.count(stream)
    try:
        value = jsonl.parse(first or b"")
    except jsonl.BadLine:
        value = None
    return rows, isinstance(value, dict) and "messages" in value


def _row(number: int, line: bytes | None) -> DatasetRow:
    if line is None:
        return DatasetRow(number=number, problem=f"longer than {MAX_SHOWN} bytes")
    try:
        return DatasetRow(number=number, value=jsonl.parse_for_answer(line))
    except jsonl.BadLine as error:
        return DatasetRow(number=number, problem=str(error))


def _training_files(folder: Path, roles: Sequence[Role]) -> list[Path]:
    files = [
        file
        for name in _names(folder)
        if name.endswith(".jsonl") and (file := _file(folder, name)) is not None
    ]
    wanted = [file for file in files if file.role in roles]
    # A user's own folder has no file of the SDG's names; there every messages file counts.
    chosen = wanted or [file for file in files if file.role == "messages"]
    if not chosen:
        raise Unprocessable(
            f"The dataset {folder.name!r} has no messages to train on.",
            "It needs skills_train_msgs_*.jsonl, knowledge_train_msgs_*.jsonl or other messages JSONL.",
        )
    filled = [file for file in chosen if file.rows]
    if not filled:
        raise Unprocessable(
            f"The dataset {folder.name!r} is empty.", "Generate it again, or take another one."
        )
    return [(folder / file.name).absolute() for file in filled]


def _check_file(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml"):
        raise Unprocessable(
            f"{path.name} is a recipe, not data.", "Name the messages JSONL file or the run's folder."
        )
    if suffix not in (".jsonl", ".json", ".ndjson"):
        raise Unprocessable(
            f"{path.name} is no JSON Lines file.", "Name a file whose lines are JSON objects (.jsonl)."
        )
    if path.stat().st_size == 0:
        raise Unprocessable(f"{path.name} is empty.", "Each line needs an object with `messages`.")
