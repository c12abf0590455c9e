"""Fetching a model from the hub: safetensors, configuration and tokenizer; never a pickle, never code."""

from __future__ import annotations

from pathlib import Path

from ilab_jupyter.errors import NotFound, Unavailable
from ilab_jupyter.progress import Reporter
from ilab_jupyter.registry import Models
from ilab_jupyter.registry.names import HUB_ID
from ilab_jupyter.training import disk

PATTERNS = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt")


def obtain(model: str, models: Models, reporter: Reporter) -> Path:
    """The checked folder of a model, downloaded first where it is a hub id that is not here yet.

    NotFound where nobody has it; Unavailable where the hub cannot be reached.
    """
    try:
        return models.resolve(model)
    except NotFound:
        if not HUB_ID.fullmatch(model):
            raise
    reporter.phase("downloading", f"{model} from the hub")
    _download(model)
    return models.resolve(model)


def _download(model: str) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        snapshot_download(model, allow_patterns=list(PATTERNS))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        if disk.ran_out(error, Path.home()):
            raise disk.full() from error
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, HfHubHTTPError) and status in (401, 403, 404):
            raise NotFound(
                f"The hub has no model {model!r} that it shows to you.",
                "Check the name; for a gated model accept its terms and set HF_TOKEN.",
            ) from error
        raise Unavailable(
            f"There is no model {model!r} here, and the hub cannot be reached to download it.",
            "Check the network, or give the path of a model folder.",
            cause="hub_unreachable",
        ) from error
