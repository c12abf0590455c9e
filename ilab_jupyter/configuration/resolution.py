"""Which value an argument of a job gets, and where it comes from.

In this order: the given argument; a key of config.yaml that the user changed since `init` wrote it; the
model's own profile; the value that `init` wrote for this hardware; the general default.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ilab_jupyter import paths
from ilab_jupyter.configuration import file, keys
from ilab_jupyter.configuration import written as written_by_init
from ilab_jupyter.configuration.arguments import DATA, EVALUATE, MODEL, SERVE, STORE, TRAIN, Row, is_set
from ilab_jupyter.configuration.sections import Settings
from ilab_jupyter.configuration.written import Written
from ilab_jupyter.errors import NotFound, PublicError
from ilab_jupyter.registry import Models
from ilab_jupyter.registry import profile as model_profile
from ilab_jupyter.registry.names import HUB_ID
from ilab_jupyter.registry.profile import Profile, Tuning

ARGUMENT = "argument"
CONFIG = "config.yaml"
PROFILE = "model profile"
INIT = "init"

STARTER = "starter"
_LORA = ("lora_rank", "lora_alpha", "lora_dropout")
_ROWS: dict[str, tuple[Row, ...]] = {"generate": DATA, "train": TRAIN, "serve": SERVE, "rag": STORE}


@dataclass(frozen=True)
class Configuration:
    """A configuration, and what `init` wrote into it: None where its whole content is the user's."""

    settings: Settings = field(default_factory=Settings)
    written: Written | None = None

    def changed(self, key: str) -> bool:
        """Whether the user set this key: the file has it, and not with the value that `init` wrote."""
        if not is_set(self.settings, key):
            return False
        written = self.written
        return written is None or keys.find(self.settings, key) != keys.find(written.settings, key)

    def for_hardware(self, key: str) -> bool:
        """Whether the value is the one that `init` chose for the machine, not a default of InstructLab."""
        written = self.written
        return written is not None and key in written.hardware and not self.changed(key)

    def arguments(self, rows: Sequence[Row], *, written: bool = False) -> dict[str, Any]:
        """Keyword arguments of the keys that the user changed, or of those that `init` chose (`written`)."""
        applies = self.for_hardware if written else self.changed
        found = {row.argument: row.value(self.settings) for row in rows if applies(row.key)}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Resolved:
    """Arguments with the source of each; an argument without a source has its default."""

    arguments: dict[str, Any]
    sources: dict[str, str]
    notices: tuple[str, ...] = ()


def load(kind: str) -> Configuration:
    """InstructLab's configuration for a job of this kind; an empty one where nothing of it applies.

    Unprocessable for a file that is wrong. A file is read again only when it has changed.
    """
    config = paths.config_file()
    if kind not in ("evaluate", *_ROWS):
        return Configuration()
    settings = _read(config, _version(config))
    return Configuration() if settings is None else Configuration(settings, written_by_init.read(config))


def resolve(
    kind: str, given: Mapping[str, Any], configuration: Configuration, known: Collection[str]
) -> Resolved:
    """The arguments of a job of this kind; `known` are the names that the kind has."""
    if kind == "train":
        return _train(given, configuration)
    configured = configuration.arguments([row for row in _rows(kind, given) if row.argument in known])
    return _merged([(ARGUMENT, given), (CONFIG, configured)])


def configured(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that config.yaml sets for a job of this kind."""
    rows = _rows(kind, given)
    return load(kind).arguments(rows) if rows else {}


def model(configuration: Configuration) -> Resolved:
    """The argument `model` of a training where none is given.

    The model that `init` wrote is used only if it is on this machine; otherwise the starter, with a notice.
    """
    row = MODEL[0]
    path = str(row.value(configuration.settings))
    if configuration.changed(row.key):
        return Resolved({"model": path}, {"model": CONFIG})
    if not configuration.for_hardware(row.key):
        return Resolved({"model": STARTER}, {})
    try:
        Models().resolve(path)
    except (PublicError, OSError):
        notice = (
            f"{row.key} of config.yaml ({path}) is not on this machine: the starter model is used instead."
        )
        return Resolved({"model": STARTER}, {}, (notice,))
    return Resolved({"model": path}, {"model": INIT})


def training(model: str, given: Mapping[str, Any], configuration: Configuration) -> Resolved:
    """The arguments of a training of `model`, without general defaults, which `training.spec` has."""
    given = {name: value for name, value in given.items() if value not in (None, [])}
    profile = _profile(model)
    changed = configuration.arguments(TRAIN)
    written = configuration.arguments(TRAIN, written=True)
    # `auto` finds the device, and a machine may have lost the GPU that it had.
    written.pop("device", None)
    if profile is None and not HUB_ID.fullmatch(model):
        # A job that has not ended makes this model; the profile that it will have comes first.
        written = {}
    method = _method(given, changed, profile, written)
    if written.get("method") != method:
        # They were chosen for the other method.
        written = {name: value for name, value in written.items() if name not in ("learning_rate", *_LORA)}
    tuning = (profile.lora if method == "lora" else profile.full) if profile else Tuning()
    layers: list[tuple[str, Mapping[str, Any]]] = [
        (ARGUMENT, given),
        (CONFIG, changed),
        (PROFILE, {"method": _usual_method(profile), **tuning.model_dump()}),
        (INIT, written),
    ]
    if method != "lora":
        # Given ones stay: the spec refuses them beside another method.
        layers[1:] = [
            (source, {name: value for name, value in values.items() if name not in _LORA})
            for source, values in layers[1:]
        ]
    found = _merged(layers)
    if found.arguments.get("method") != method:  # a LoRA argument was given without its method
        found.arguments["method"], found.sources["method"] = method, ARGUMENT
    _keep_alpha_with_rank(found)
    _keep_step_size(found, configuration.settings)
    return found


def _rows(kind: str, given: Mapping[str, Any]) -> tuple[Row, ...]:
    if kind == "evaluate":
        return EVALUATE.get(str(given.get("benchmark")), ())
    return _ROWS.get(kind, ())


def is_local(model: str) -> bool:
    """Whether the model is on this machine, so that its training profile is known."""
    return _profile(model) is not None


def _train(given: Mapping[str, Any], configuration: Configuration) -> Resolved:
    given = {name: value for name, value in given.items() if value is not None}
    chosen = given.pop("model", None)
    base = model(configuration) if chosen is None else Resolved({"model": chosen}, {"model": ARGUMENT})
    found = training(str(base.arguments["model"]), given, configuration)
    return Resolved({**base.arguments, **found.arguments}, {**base.sources, **found.sources}, base.notices)


def _method(
    given: Mapping[str, Any], changed: Mapping[str, Any], profile: Profile | None, written: Mapping[str, Any]
) -> str:
    if given.get("method"):
        return str(given["method"])
    if given.get("lora_rank") == 0:
        return "full"
    if any(given.get(name) for name in _LORA):
        return "lora"
    return str(changed.get("method") or _usual_method(profile) or written.get("method") or "full")


def _usual_method(profile: Profile | None) -> str | None:
    """The method that a model's profile has settings for; full training where it has both."""
    if profile is None or (profile.full, profile.lora) == (Tuning(), Tuning()):
        return None
    return "lora" if profile.full == Tuning() else "full"


def _profile(name: str) -> Profile | None:
    """The training profile of a model; None where the model is not on this machine."""
    try:
        return model_profile.read(Models().resolve(name))
    except NotFound:
        return None
    except (PublicError, OSError):
        return Profile()  # the job reports what is wrong with it


def _merged(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> Resolved:
    """The first layer that has a value for an argument decides."""
    arguments: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, values in layers:
        for name, value in values.items():
            if value is not None and name not in arguments:
                arguments[name], sources[name] = value, source
    return Resolved(arguments, sources)


_ORDER = (ARGUMENT, CONFIG, PROFILE, INIT)


def _keep_alpha_with_rank(found: Resolved) -> None:
    """Remove a scale that was chosen for another LoRA rank."""
    rank, alpha = found.sources.get("lora_rank"), found.sources.get("lora_alpha")
    if rank and alpha and _ORDER.index(alpha) > _ORDER.index(rank):
        del found.arguments["lora_alpha"], found.sources["lora_alpha"]


def _keep_step_size(found: Resolved, settings: Settings) -> None:
    """Let gradient accumulation follow the batch size that was chosen before it."""
    batch, steps = found.sources.get("batch_size"), found.sources.get("gradient_accumulation_steps")
    if not batch or not steps or _ORDER.index(steps) <= _ORDER.index(batch):
        return
    if steps == CONFIG:
        size = settings.train.effective_batch_size
        number = math.ceil(size / int(found.arguments["batch_size"]))
        found.arguments["gradient_accumulation_steps"] = min(4096, number)
    else:
        del found.arguments["gradient_accumulation_steps"], found.sources["gradient_accumulation_steps"]


def _version(path: Path) -> tuple[int, ...] | None:
    """What changes with a file; None where there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return ()  # reading it says what is wrong
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=16)
def _read(path: Path, version: tuple[int, ...] | None) -> Settings | None:
    return None if version is None else file.check(file.parsed(path), str(path))
