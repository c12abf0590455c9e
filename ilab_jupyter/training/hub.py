"""Fetching a model from the hub: safetensors, configuration and tokenizer; never a pickle, never code."""

from __future__ import annotations

from pathlib import Path

from ilab_jupyter.errors import Forbidden, NotFound, Unavailable
from ilab_jupyter.progress import Reporter
from ilab_jupyter.registry import Models
from ilab_jupyter.registry.names import HUB_ID
from ilab_jupyter.training import disk

PATTERNS = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt")


def obtain(model: str, models: Models, reporter: Reporter) -> Path:
    """The checked folder of a model, downloaded first where it is a hub id that is not here yet.

    NotFound (cause model_missing) where nobody has it; Forbidden (model_gated) where the hub keeps it from
    this user; Unavailable where the hub cannot be reached.
    """
    try:
        return models.resolve(model)
    except NotFound as error:
        if not HUB_ID.fullmatch(model):
            raise NotFound(error.message, error.next_step, cause="model_missing") from None
    reporter.phase("downloading", f"{model} from the hub")
    _download(model)
    return models.resolve(model)


def _download(model: str) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    try:
        snapshot_download(model, allow_patterns=list(PATTERNS))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        if disk.ran_out(error, Path.home()):
            raise disk.full() from error
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, GatedRepoError):
            raise Forbidden(
                f"The hub gives the model {model!r} only to users who have accepted its terms.",
                "Accept them on its page and log in where jobs run (`hf auth login`), then resume.",
                cause="model_gated",
            ) from error
        if isinstance(error, HfHubHTTPError) and status in (401, 403, 404):
            raise NotFound(
                f"The hub has no model {model!r} that it shows to you.",
                "Check the name; for a private model log in where jobs run (`hf auth login`).",
                cause="model_missing",
            ) from error
        raise Unavailable(
            f"There is no model {model!r} here, and the hub cannot be reached to download it.",
            "Check the network, or give the path of a model folder.",
            cause="hub_unreachable",
        ) from error
