"""A LoRA or DoRA adapter becomes part of its base: a whole model that needs no adapter."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ilab_jupyter import hardware
from ilab_jupyter.errors import InvalidInput, out_of_memory_cause
from ilab_jupyter.progress import Reporter
from ilab_jupyter.registry import ModelEntry, Models
from ilab_jupyter.registry import folder as model_folder
from ilab_jupyter.registry.profile import PROFILE

LIBRARIES = ("torch", "transformers", "peft", "ilab-jupyter")


def merge(
    adapter: str,
    folder: Path,
    *,
    name: str | None,
    models: Models,
    reporter: Reporter,
    job_id: str | None = None,
) -> ModelEntry:
    """The adapter in `folder`, called `adapter`, merged into its base and published as `name`.

    Added in float32 and kept in the base's number format. What `job_id` has published already is given as it
    is. InvalidInput where it is no adapter, Conflict where the name is taken, Unprocessable where adapter or
    base cannot be loaded, or give no finite numbers.
    """
    if job_id is not None and (made := models.made_by(job_id)) is not None:
        return made
    if model_folder.inspect(folder, follow_links=True).kind != "adapter":
        raise InvalidInput(f"{folder.name!r} is a whole model already.", "Give an adapter, as LoRA makes it.")
    own = f"{folder.name.lower()[:100]}-merged"
    chosen = models.check_free(name) if name else models.free_name(own)
    reporter.phase("loading", f"{adapter} and its base")
    from ilab_jupyter.serving.loading import load

    loaded = load(folder, device="cpu")
    reporter.phase("merging", chosen)
    merged = _merged(loaded.model, folder)
    known = model_folder.lineage(folder)
    lineage: dict[str, Any] = {
        "base": known.get("base") or model_folder.inspect(folder, follow_links=True).base,
        "merged_from": {"adapter": adapter, "path": str(folder), "lineage": known},
        "libraries": {name: found for name, found in hardware.versions(LIBRARIES).items() if found},
    }
    lineage |= {"job": job_id} if job_id is not None else {}
    reporter.phase("saving", chosen)
    with models.staging() as staged:
        merged.save_pretrained(staged.folder)
        loaded.tokenizer.save_pretrained(staged.folder)
        if (folder / PROFILE).is_file():
            shutil.copyfile(folder / PROFILE, staged.folder / PROFILE)
        entry = models.publish(staged, chosen, lineage)
    reporter.artifact("model", entry.name, Path(entry.path))
    return entry


def _merged(model: Any, folder: Path) -> Any:
    from ilab_jupyter.errors import Unprocessable

    kept = next(model.parameters()).dtype
    try:
        return model.float().merge_and_unload(safe_merge=True).to(kept)
    except (ValueError, RuntimeError, NotImplementedError) as error:
        if out_of_memory_cause(error) is not None:
            raise
        raise Unprocessable(
            f"The adapter {folder.name!r} cannot be merged: {str(error).splitlines()[0][:200].rstrip('.')}.",
            "Check that it belongs to its base model and that its training ended well.",
        ) from error
