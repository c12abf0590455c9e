"""Where things lie on disk. InstructLab's own folders (XDG), so each finds the other's files."""

from __future__ import annotations

import os
from pathlib import Path

from ilab_jupyter.errors import InvalidInput

# Of names and paths on Linux, with room for the folder that a path is relative to.
_LONGEST_NAME, _LONGEST = 255, 3500


def _xdg(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    return Path(value) if Path(value).is_absolute() else Path.home() / default


def config_file() -> Path:
    """`$XDG_CONFIG_HOME/instructlab/config.yaml`: what InstructLab is configured with."""
    return _xdg("XDG_CONFIG_HOME", ".config") / "instructlab" / "config.yaml"


def data_dir() -> Path:
    """`$XDG_DATA_HOME/instructlab`: datasets, checkpoints, the taxonomy."""
    return _xdg("XDG_DATA_HOME", ".local/share") / "instructlab"


def datasets_dir() -> Path:
    """Generated datasets, one dated folder a run."""
    return data_dir() / "datasets"


def checkpoints_dir() -> Path:
    """Checkpoints of running and interrupted trainings, one folder a job."""
    return data_dir() / "checkpoints"


def taxonomy_dir() -> Path:
    """The default taxonomy checkout."""
    return data_dir() / "taxonomy"


def internal_dir() -> Path:
    """What InstructLab keeps for itself: results of benchmarks, tokenized data."""
    return data_dir() / "internal"


def models_dir() -> Path:
    """`$XDG_CACHE_HOME/instructlab/models`: downloaded and trained models."""
    return _xdg("XDG_CACHE_HOME", ".cache") / "instructlab" / "models"


def documents_dir() -> Path:
    """Commits of document repositories that were fetched for knowledge leaves. May be deleted at any time."""
    return _xdg("XDG_CACHE_HOME", ".cache") / "instructlab" / "documents"


def state_dir() -> Path:
    """The job engine's folder, `$ILAB_JUPYTER_STATE` or `$XDG_STATE_HOME/ilab-jupyter`: store, jobs."""
    chosen = os.environ.get("ILAB_JUPYTER_STATE", "")
    return Path(chosen) if chosen else _xdg("XDG_STATE_HOME", ".local/state") / "ilab-jupyter"


def given(path: object) -> Path:
    """A path as the user wrote it, with `~` expanded; InvalidInput for a name that no file can have."""
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str):
        raise InvalidInput(f"This is no path: a {type(path).__name__}.", "Give a text or a pathlib.Path.")
    try:
        found = os.path.expanduser(text)  # noqa: PTH111 - Path's own raises for a user that is not there
        encoded = os.fsencode(found)
    except (UnicodeEncodeError, ValueError):
        found, encoded = "", b"\0"
    if b"\0" in encoded or max(map(len, encoded.split(b"/"))) > _LONGEST_NAME or len(encoded) > _LONGEST:
        raise InvalidInput(f"No file can have this path: {text[:60]!r}.", "Give a shorter or plainer one.")
    if found.startswith("~"):
        raise InvalidInput(f"Nobody here has this home: {text[:60]!r}.", "Give the whole path.")
    return Path(found)


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether something is there that may be looked at; Path.exists raises where a folder is closed to us."""
    try:
        return Path(path).exists()
    except OSError:
        return False


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file is there; see `exists`."""
    return exists(path) and Path(path).is_file()


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is there; see `exists`."""
    return exists(path) and Path(path).is_dir()
