"""The lineage of a trained model, written beside it and read back by a resumed job."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from ilab_jupyter import hardware
from ilab_jupyter.registry import Models
from ilab_jupyter.registry import profile as model_profile
from ilab_jupyter.training.plan import Plan, fingerprint
from ilab_jupyter.training.spec import TrainResult


def describe(plan: Plan, job: str, result: TrainResult) -> dict[str, Any]:
    """The content of `ilab-lineage.json` of the new model."""
    return {
        "base": plan.base,
        "base_path": str(plan.folder),
        "base_fingerprint": fingerprint(plan.folder),
        "dataset": {
            "files": [str(file) for file in plan.files],
            "rows": plan.rows,
            "sha256": plan.dataset_hash,
        },
        "replay": {"file": plan.settings.replay.file, "rows": len(plan.replay)}
        if plan.settings.replay
        else None,
        "settings": plan.settings.model_dump(mode="json"),
        "seed": plan.settings.seed,
        "libraries": {
            name: found
            for name, found in hardware.versions((*hardware.ENGINE_LIBRARIES, "ilab-jupyter")).items()
            if found
        },
        "python": sys.version.split()[0],
        "job": job,
        "result": result.model_dump(mode="json"),
    }


def published(models: Models, job: str) -> TrainResult | None:
    """The result of a job that published its model before it was interrupted."""
    entry = models.made_by(job)
    result = entry.lineage.get("result") if entry is not None else None
    return TrainResult.model_validate(result) if isinstance(result, dict) else None


def carry_profile(plan: Plan, folder: Path) -> None:
    """Copy the training profile of the base to the new model."""
    names = [model_profile.PROFILE, *([plan.settings.replay.file] if plan.settings.replay else [])]
    for name in names:
        if (plan.folder / name).is_file():
            shutil.copyfile(plan.folder / name, folder / name)
