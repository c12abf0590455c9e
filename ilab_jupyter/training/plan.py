"""The plan of a training, made before the engine is loaded so that mistakes are reported early."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ilab_jupyter.errors import NotFound, PublicError, Unprocessable
from ilab_jupyter.registry import Datasets, Models
from ilab_jupyter.registry import folder as model_folder
from ilab_jupyter.registry import profile as model_profile
from ilab_jupyter.training import data as training_data
from ilab_jupyter.training import loading
from ilab_jupyter.training.spec import Settings, TrainingArguments, resolve_settings


@dataclass(frozen=True)
class Plan:
    """Base model, settings, checked data and the new model's name."""

    base: str
    folder: Path
    name: str
    settings: Settings
    files: tuple[Path, ...]
    replay: tuple[training_data.Conversation, ...]
    rows: int
    dataset_hash: str

    def identity(self) -> dict[str, Any]:
        """Everything that determines the result."""
        return {
            "settings": self.settings.identity(),
            "data": self.dataset_hash,
            "base": str(self.folder),
            "base weights": fingerprint(self.folder),
        }


def make(base: str, folder: Path, arguments: TrainingArguments, job: str, models: Models) -> Plan:
    """The plan of training the model in `folder`; PublicError for a taken name, a wrong row or profile."""
    if (folder / "adapter_config.json").is_file():
        raise Unprocessable(
            f"{base!r} is an adapter, which cannot be trained further by itself.",
            "Train its base model on both sets of data.",
        )
    profile = model_profile.read(folder)
    settings = resolve_settings(arguments, profile, loading.max_positions(folder))
    name = models.check_free(arguments.name) if arguments.name else models.free_name(_default_name(base, job))
    files = tuple(dict.fromkeys(path for given in arguments.data for path in _files(given, profile)))
    summary = training_data.check(files)
    return Plan(
        base=base,
        folder=folder,
        name=name,
        settings=settings,
        files=files,
        replay=_replay(folder, settings),
        rows=summary.rows,
        dataset_hash=summary.sha256,
    )


def expected_settings(base: str, arguments: TrainingArguments) -> Settings:
    """The settings of a training of this model; general defaults where the model cannot be read."""
    try:
        folder = Models().resolve(base)
        profile, longest = model_profile.read(folder), loading.max_positions(folder)
    except (PublicError, OSError, ValueError):
        profile, longest = model_profile.Profile(), None
    return resolve_settings(arguments, profile, longest)


def _files(given: str, profile: model_profile.Profile) -> list[Path]:
    try:
        return Datasets().resolve(given, profile.dataset_roles)
    except NotFound as error:
        raise NotFound(error.message, error.hint, cause="data_missing") from None


def fingerprint(folder: Path) -> str:
    """SHA-256 over the configuration and the safetensors headers; changes when the model is another one."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for name in model_folder.inspect(folder, follow_links=True).files:
        with (folder / name).open("rb") as stream:
            length = stream.read(8)
            digest.update(length + stream.read(int.from_bytes(length, "little")))
            digest.update((folder / name).stat().st_size.to_bytes(8, "little"))
    return digest.hexdigest()


def _replay(folder: Path, settings: Settings) -> tuple[training_data.Conversation, ...]:
    if settings.replay is None:
        return ()
    file = folder / settings.replay.file
    if not file.is_file():
        raise Unprocessable(
            f"The model's profile names {settings.replay.file}, which is not beside it.",
            "Copy the file again, or take `replay` out of ilab-profile.json.",
        )
    return tuple(islice(training_data.read(file), settings.replay.rows))


def _default_name(base: str, job: str) -> str:
    stem = re.sub(r"[^a-z0-9._-]+", "-", Path(base).name.lower()).strip("-._") or "model"
    return f"{stem[:100]}-{re.sub(r'[^a-z0-9]', '', job.lower())[-8:] or 'trained'}"
