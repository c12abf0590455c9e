"""Check whether the model hub has a model of an id."""

from __future__ import annotations

import os
from pathlib import Path

from ilab_jupyter.errors import NotFound

TIMEOUT_SECONDS = 3.0


def check(model: str, token: str | None = None) -> str:
    """Return a warning if the check was not possible, else an empty text; NotFound for an unknown model.

    `model` is an id such as `org/name`. The token is that of the job, of HF_TOKEN or of `hf auth login`.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return f"The model {model!r} is not on this machine, and HF_HUB_OFFLINE prevents its download."
    import httpx

    known = token or os.environ.get("HF_TOKEN") or _stored_token()
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    try:
        answer = httpx.get(
            f"{endpoint}/api/models/{model}",
            headers={"Authorization": f"Bearer {known}"} if known else {},
            timeout=TIMEOUT_SECONDS,
            follow_redirects=True,
        )
    except (httpx.HTTPError, httpx.InvalidURL):
        return (
            f"The model {model!r} is not on this machine, and {endpoint} does not answer: "
            "whether it can be downloaded was not checked."
        )
    if answer.status_code in (401, 404):
        raise NotFound(
            f"There is no model {model!r}, neither on this machine nor on the hub.",
            "See `%ilab models`, or check the name; a private model needs a token (`hf auth login`).",
            cause="model_missing",
        )
    if not answer.is_success:
        return f"The hub answered {answer.status_code} for the model {model!r}: it was not checked."
    return ""


def _stored_token() -> str:
    """The token stored by `hf auth login`; empty if there is none."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface").expanduser()
    file = Path(os.environ.get("HF_TOKEN_PATH") or home / "token").expanduser()
    try:
        return file.read_text("ascii").strip()
    except (OSError, UnicodeError):
        return ""
