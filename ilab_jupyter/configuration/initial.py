"""The initial config.yaml for a machine, and the folders that InstructLab expects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilab_jupyter import hardware, paths
from ilab_jupyter.configuration import file
from ilab_jupyter.configuration.commented import commented
from ilab_jupyter.configuration.document import Document
from ilab_jupyter.configuration.profiles import Profile, choose, profiles
from ilab_jupyter.configuration.sections import Settings
from ilab_jupyter.configuration.written import Written
from ilab_jupyter.errors import NotFound

# InstructLab's own variable: an administrator's file that every new configuration copies.
SAMPLE = "ILAB_GLOBAL_CONFIG"


@dataclass(frozen=True)
class Initial:
    """The text, the name of the profile or file that it was made from, and why that one.

    `written` records the values of a hardware profile; a file's values are its author's.
    """

    document: Document
    profile: str
    reasons: tuple[str, ...]
    written: Written | None = None


def create(profile: str | os.PathLike[str] | None) -> Initial:
    """Create it from a profile's name, a YAML file, `ILAB_GLOBAL_CONFIG` or the hardware; NotFound."""
    sample = os.environ.get(SAMPLE, "")
    if profile is None and sample:
        return Initial(file.read(Path(sample)), sample, (f"{SAMPLE} names {sample}.",))
    if profile is None:
        machine = hardware.look(paths.data_dir())
        return _of(choose(machine, hardware.processor(), hardware.memory_limit()))
    name = str(paths.given(profile))
    known = {one.name: one for one in profiles()}
    if name in known:
        return _of(known[name])
    if paths.is_file(name):
        return Initial(file.read(Path(name)), name, (f"{name} was requested.",))
    raise NotFound(
        f"There is no profile {name[:100]!r}, neither by name nor as a file.",
        f"Take one of Config.profiles(): {', '.join(known)}.",
    )


def folders() -> list[Path]:
    """The folders that InstructLab expects for the user's data and for its cache."""
    data, internal = paths.data_dir(), paths.internal_dir()
    benchmarks = [internal / "eval_data" / name for name in ("mt_bench", "mt_bench_branch", "dk_bench")]
    named = [data / name for name in ("chatlogs", "phased", "logs", "converted_documents")]
    training = internal / "train_configuration" / "additional"
    return [
        paths.models_dir(),
        paths.models_dir().with_name("oci"),
        paths.datasets_dir(),
        paths.checkpoints_dir(),
        paths.taxonomy_dir(),
        *named,
        *benchmarks,
        training,
    ]


def _of(profile: Profile) -> Initial:
    settings = Settings.model_validate(_nested(profile.values))
    reasons = profile.reasons or (f"The profile {profile.name} was requested.",)
    heading = (f"InstructLab's configuration. Profile {profile.name}: {profile.summary}.", *reasons)
    written = Written(profile=profile.name, hardware=frozenset(profile.values), settings=settings)
    return Initial(Document.parse(commented(settings, heading)), profile.name, reasons, written)


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for key, value in values.items():
        *above, name = key.split(".")
        inner = root
        for section in above:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return root
