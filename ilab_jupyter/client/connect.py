"""Which job service a kernel, a script or a command works with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ilab_jupyter.jobs.service import JobService


def connect(
    url: str | None = None, token: str | None = None, state_dir: str | Path | None = None
) -> JobService:
    """The service at `url`, else at $ILAB_SERVICE_URL with $ILAB_SERVICE_TOKEN, else the state folder's own.

    A `state_dir` that is given means that folder, whatever the environment says. Without a service no server
    need run: the jobs are on disk, and a Jupyter server of the same user sees the same ones.
    """
    service = url or (os.environ.get("ILAB_SERVICE_URL", "") if state_dir is None else "")
    if service:
        from ilab_jupyter.client.remote import RemoteJobs

        return RemoteJobs(service, token or os.environ.get("ILAB_SERVICE_TOKEN") or None)
    from ilab_jupyter.jobs.local import LocalJobs
    from ilab_jupyter.kinds.admission import admit

    return LocalJobs(Path(state_dir) if state_dir is not None else None, admit=admit)
