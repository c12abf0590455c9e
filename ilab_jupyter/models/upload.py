"""A model goes to a hub, with a card that its lineage writes. The token is the hub client's own affair."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from ilab_jupyter import engine
from ilab_jupyter.errors import Forbidden, InvalidInput, Unavailable
from ilab_jupyter.models.hub import CARD, PATTERNS
from ilab_jupyter.progress import Reporter
from ilab_jupyter.registry import folder as model_folder
from ilab_jupyter.registry.names import HUB_ID


class Uploaded(BaseModel):
    """Where a model lies on a hub now."""

    model_config = ConfigDict(frozen=True)

    model: str
    repository: str
    commit: str
    url: str


def upload(
    model: str, folder: Path, repository: str, *, private: bool, message: str, reporter: Reporter
) -> Uploaded:
    """Send the weights, configuration and tokenizer in `folder` to `repository`, with a model card.

    InvalidInput where that is no id; Forbidden without a login that may write there; Unavailable where the
    hub cannot be reached. Paths, dataset files and jobs of this machine are not sent.
    """
    if not HUB_ID.fullmatch(repository):
        raise InvalidInput(f"{repository[:80]!r} is no id of a model on a hub.", "It looks like org/name.")
    model_folder.inspect(folder, follow_links=True)
    engine.require("An upload", "huggingface_hub")
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    reporter.phase("uploading", f"{model} to {repository}")
    hub = HfApi()
    with tempfile.TemporaryDirectory(prefix="ilab-upload-") as aside:
        staged = Path(aside)
        for entry in sorted(folder.iterdir()):
            wanted = any(entry.match(pattern) for pattern in PATTERNS)
            if entry.is_file() and wanted and entry.name != model_folder.LINEAGE:
                (staged / entry.name).symlink_to(entry.resolve())
        (staged / CARD).write_text(card(model, folder), "utf-8")
        try:
            made = hub.create_repo(repository, private=private, exist_ok=True)
            commit: Any = hub.upload_folder(repo_id=made.repo_id, folder_path=staged, commit_message=message)
        except HFValidationError as error:
            raise InvalidInput(
                f"{repository[:120]!r} is no id of a model on a hub.", "It looks like org/name."
            ) from error
        except LocalTokenNotFoundError as error:
            raise _not_allowed(repository) from error
        except (OSError, httpx.HTTPError) as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            if isinstance(error, HfHubHTTPError) and status in (401, 403, 404):
                raise _not_allowed(repository) from error
            raise Unavailable(
                f"The hub cannot be reached to upload {repository!r}.",
                "Check the network and try again; what is there already is not sent twice.",
                cause="hub_unreachable",
            ) from error
    return Uploaded(model=model, repository=made.repo_id, commit=str(commit.oid), url=str(made.url))


def card(model: str, folder: Path) -> str:
    """The model card: what the lineage says, as metadata and as text. Nothing of this machine is in it."""
    known = model_folder.lineage(folder)
    base = known.get("base")
    head: dict[str, Any] = {"library_name": "transformers", "tags": ["instructlab", "ilab-jupyter"]}
    if isinstance(base, str) and HUB_ID.fullmatch(base):
        head["base_model"] = base
    if isinstance(known.get("license"), str):
        head["license"] = known["license"]
    text = [f"# {Path(model).name}", ""]
    if base:
        text += [f"Made from `{Path(str(base)).name if Path(str(base)).is_absolute() else base}`.", ""]
    settings, result, data = (known.get(part) or {} for part in ("settings", "result", "dataset"))
    facts = {
        "Method": settings.get("method"),
        "Epochs": settings.get("epochs"),
        "Learning rate": settings.get("learning_rate"),
        "Examples": result.get("examples"),
        "Final loss (nats per answer token)": result.get("final_loss"),
        "Training data (SHA-256)": data.get("sha256"),
        "Seed": known.get("seed"),
    }
    rows = [f"| {name} | {value} |" for name, value in facts.items() if value is not None]
    if rows:
        text += ["| Training | |", "| --- | --- |", *rows, ""]
    libraries = known.get("libraries") or {}
    if libraries:
        text += ["Made with " + ", ".join(f"{name} {found}" for name, found in libraries.items()) + ".", ""]
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n" + "\n".join(text)


def _not_allowed(repository: str) -> Forbidden:
    return Forbidden(
        f"You may not write to {repository!r} on the hub.",
        "Log in with a token that may write (`hf auth login`), and check the owner's name.",
    )
