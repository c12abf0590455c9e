"""Fetching a model from the hub: safetensors, configuration and tokenizer; never a pickle, never code."""

from __future__ import annotations

import fnmatch
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter import engine
from ilab_jupyter.display import Shown
from ilab_jupyter.errors import Forbidden, InvalidInput, NotFound, Unavailable, Unprocessable
from ilab_jupyter.progress import Reporter, Stopped
from ilab_jupyter.registry import ModelEntry, Models
from ilab_jupyter.registry.names import HUB_ID, PART, existing
from ilab_jupyter.training import disk

PATTERNS = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt")
REVISION = re.compile(r"(?![-./])(?!.*\.\.)[\w./-]{1,200}", re.ASCII)
CARD = "README.md"
# Where a download that failed goes on later; hidden from the registry, as its name is no model's.
PARTS = ".downloads"


class OfferedFile(BaseModel):
    """One file that a download would fetch."""

    model_config = ConfigDict(frozen=True)

    name: str
    size_bytes: int


class Offer(Shown, BaseModel):
    """What a hub offers under an id, before anything of it is fetched."""

    model_config = ConfigDict(frozen=True)

    repository: str
    commit: str
    license: str | None = Field(description="As its model card says; None where it says nothing.")
    gated: bool = Field(description="Whether its owner gives it only to users who have accepted terms.")
    files: tuple[OfferedFile, ...]
    left_out: tuple[str, ...] = Field(
        description="Files that are never fetched: pickles, code, other formats."
    )

    @property
    def size_bytes(self) -> int:
        """Of all files that would be fetched."""
        return sum(file.size_bytes for file in self.files)

    def __str__(self) -> str:
        terms = ", gated" if self.gated else ""
        return (
            f"{self.repository} at {self.commit[:12]}: {len(self.files)} files, "
            f"{disk.shown(self.size_bytes)}, license {self.license or 'not stated'}{terms}"
        )


def obtain(model: str, models: Models, reporter: Reporter) -> Path:
    """The checked folder of a model, downloaded first where it is a hub id that is not here yet.

    NotFound (cause model_missing) where it does not exist; Forbidden (model_gated) where this user
    has no access; Unavailable where the hub cannot be reached.
    """
    try:
        return models.resolve(model)
    except NotFound as error:
        if not HUB_ID.fullmatch(model):
            raise NotFound(error.message, error.hint, cause="model_missing") from None
    reporter.phase("downloading", f"{model} from the hub")
    with _explained(model):
        from huggingface_hub import snapshot_download

        snapshot_download(model, allow_patterns=list(PATTERNS))
    return models.resolve(model)


def describe(repository: str, revision: str | None = None) -> Offer:
    """Size, licence and files of a hub's model; nothing is fetched.

    Unprocessable where it has no safetensors; otherwise the errors of `obtain`.
    """
    if not HUB_ID.fullmatch(repository):
        raise InvalidInput(f"{repository[:80]!r} is no id of a model on a hub.", "It looks like org/name.")
    if revision is not None and not REVISION.fullmatch(revision):
        raise InvalidInput(f"{revision[:80]!r} is no revision.", "Give a branch, a tag or a commit.")
    engine.require("A download", "huggingface_hub")
    with _explained(repository):
        from huggingface_hub import HfApi

        known = HfApi().model_info(repository, revision=revision, files_metadata=True, timeout=30)
    files = [OfferedFile(name=file.rfilename, size_bytes=file.size or 0) for file in known.siblings or ()]
    wanted = tuple(file for file in files if _is_wanted(file.name))
    if not any(file.name.endswith(".safetensors") for file in wanted):
        raise Unprocessable(
            f"The hub has {repository!r} in no safetensors form, and nothing else is loaded here.",
            "Choose another model, or a revision that has safetensors.",
        )
    card: Any = known.card_data
    return Offer(
        repository=repository,
        commit=str(known.sha),
        license=str(card.get("license")) if card and card.get("license") else None,
        gated=bool(known.gated),
        files=wanted,
        left_out=tuple(file.name for file in files if file not in wanted),
    )


def download(
    repository: str,
    *,
    revision: str | None,
    name: str | None,
    confirm: Callable[[Offer], bool] | None,
    models: Models,
    reporter: Reporter,
    job_id: str | None = None,
) -> ModelEntry:
    """A hub's model, or a folder's, as a model of the registry.

    `confirm` sees size and licence first; Stopped where it says no. A connection that breaks is taken up at
    its byte, and a download that failed goes on with the files that are not here yet. What `job_id` has
    published already is given as it is. Conflict where `name` is taken; otherwise the errors of `describe`.
    """
    if job_id is not None and (made := models.made_by(job_id)) is not None:
        return made
    lineage: dict[str, Any] = {"job": job_id} if job_id is not None else {}
    if (folder := existing(repository)) is not None and not HUB_ID.fullmatch(repository):
        chosen = models.check_free(name) if name else models.free_name(_plain(folder.resolve().name))
        return models.publish(folder, chosen, {"copied_from": str(folder.resolve()), **lineage})
    offer = describe(repository, revision)
    chosen = models.check_free(name) if name else models.free_name(_plain(repository.rpartition("/")[2]))
    reporter.phase("downloading", str(offer))
    if confirm is not None and not confirm(offer):
        raise Stopped("Nothing was downloaded.")
    parts = models.root / PARTS / f"{repository.replace('/', '--')}--{offer.commit[:40]}"
    _check_room(offer, models, parts)
    _fetch(offer, parts, reporter)
    lineage |= {
        "hub": {"repository": repository, "revision": revision or "main", "commit": offer.commit},
        "license": offer.license,
    }
    with models.staging() as staged:
        for file in offer.files:
            # Each is on the same disk already.
            (parts / file.name).rename(staged.folder / file.name)
        entry = models.publish(staged, chosen, lineage)
    shutil.rmtree(parts, ignore_errors=True)
    reporter.artifact("model", entry.name, Path(entry.path))
    return entry


def _fetch(offer: Offer, folder: Path, reporter: Reporter) -> None:
    from huggingface_hub import hf_hub_download

    done = 0
    for file in offer.files:
        if reporter.stopping:
            raise Stopped("The download was stopped on request; the downloaded part is kept.")
        with _explained(offer.repository):
            hf_hub_download(offer.repository, file.name, revision=offer.commit, local_dir=folder)
        done += file.size_bytes
        reporter.progress(done, offer.size_bytes, file=file.name)


def _is_wanted(name: str) -> bool:
    """Files in folders are other formats of the same model: onnx/, original/."""
    return PART.fullmatch(name) is not None and any(fnmatch.fnmatch(name, wanted) for wanted in PATTERNS)


def _plain(name: str) -> str:
    """A name of the hub as one of the registry."""
    return re.sub(r"[^a-z0-9._-]", "-", name.lower()).lstrip("._-")[:120] or "model"


def _check_room(offer: Offer, models: Models, parts: Path) -> None:
    models.root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(models.root).free
    here = sum(file.stat().st_size for file in parts.rglob("*") if file.is_file())
    missing = max(offer.size_bytes - here, 0)
    if free < missing + disk.MARGIN:
        raise Unavailable(
            f"{offer.repository} takes {disk.shown(missing)} more, and {disk.shown(free)} are free.",
            "Free some space, or choose another `output_dir`.",
            cause=disk.CAUSE,
        )


@contextmanager
def _explained(model: str) -> Iterator[None]:
    """What the hub's client raises, as what a person can do about it."""
    import httpx
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError

    try:
        yield
    except HFValidationError as error:
        raise InvalidInput(
            f"{model[:120]!r} is no id of a model on a hub.", "Check its name; it looks like org/name."
        ) from error
    except (OSError, httpx.HTTPError) as error:
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
