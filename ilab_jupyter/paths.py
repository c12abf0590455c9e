"""Where things lie on disk. InstructLab's own folders (XDG), so each finds the other's files."""

from __future__ import annotations

import os
from pathlib import Path


def _xdg(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    return Path(value) if Path(value).is_absolute() else Path.home() / default


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


def models_dir() -> Path:
    """`$XDG_CACHE_HOME/instructlab/models`: downloaded and trained models."""
    return _xdg("XDG_CACHE_HOME", ".cache") / "instructlab" / "models"


def state_dir() -> Path:
    """The job engine's folder, `$ILAB_JUPYTER_STATE` or `$XDG_STATE_HOME/ilab-jupyter`: store, jobs."""
    chosen = os.environ.get("ILAB_JUPYTER_STATE", "")
    return Path(chosen) if chosen else _xdg("XDG_STATE_HOME", ".local/state") / "ilab-jupyter"
