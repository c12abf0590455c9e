"""How a worker is started: interpreter, module, working directory and environment, fixed at submission."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ilab_jupyter import secret_names
from ilab_jupyter.errors import InvalidInput, Unavailable
from ilab_jupyter.jobs.attempt.process import TOKEN

# Variables of the submitter that a job inherits, whichever process starts it. None of these holds a secret.
CARRIED = (
    *(
        "PATH",
        "PYTHONPATH",
        "LD_LIBRARY_PATH",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "LANG",
        "LC_ALL",
        "TZ",
        "TMPDIR",
    ),
    *("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "ILAB_JUPYTER_STATE"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_HOME", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTORCH_CUDA_ALLOC_CONF"),
    *(
        "HF_HOME",
        "HF_HUB_CACHE",
        "HF_HUB_OFFLINE",
        "HF_ENDPOINT",
        "TRANSFORMERS_OFFLINE",
        "HF_DATASETS_OFFLINE",
    ),
)
# Private to the starting process: tokens that a job must not see, a plot backend that needs a kernel.
_DROPPED = (
    *("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN", "JUPYTER_TOKEN", "JUPYTERHUB_CLIENT_ID", "ILAB_SERVICE_TOKEN"),
    *("JPY_PARENT_PID", "JPY_SESSION_NAME", "JPY_INTERRUPT_EVENT", "MPLBACKEND", "PYTHONSTARTUP", TOKEN),
)
# The address of the job database contains a password: supervisors inherit it, workers do not.
DATABASE_URL = "ILAB_JUPYTER_DATABASE_URL"
SECRET_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
# Variables that make a program load code or search for it elsewhere. No configured pattern allows them.
_REFUSED = re.compile(
    r"(LD|DYLD|PYTHON|PYTORCH|ILAB_JUPYTER|GIT|BASH|MALLOC|GLIBC|NODE|PERL|RUBY|JAVA)_?.*"
    rf"|PATH|HOME|SHELL|IFS|ENV|USER|LOGNAME|TMPDIR|GCONV_PATH|LOCPATH|NLSPATH|PAGER|EDITOR|VISUAL|{TOKEN}"
    r"|(OPENSSL|SSL|CURL|REQUESTS)_.*|.*_PATH|.*_CONF(IG)?|.*_PRELOAD"
)
_MAX_SECRET = 32_768
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def launch(python: str, module: str, cwd: str | None = None) -> dict[str, Any]:
    """Return what is stored with a job to start its worker. Raise Unavailable if the interpreter is not an
    executable file."""
    if not (Path(python).is_absolute() and os.access(python, os.X_OK) and Path(python).is_file()):
        raise Unavailable(
            f"The interpreter for jobs, {python!r}, is not an executable file.",
            "Set worker_python (or ILAB_JUPYTER_WORKER_PYTHON) to the absolute path of a Python.",
            cause="worker_python",
        )
    environment = {name: os.environ[name] for name in CARRIED if name in os.environ}
    return {"python": python, "module": module, "cwd": cwd or _cwd(), "env": _with_source_tree(environment)}


def supervisor_environment() -> dict[str, str]:
    """Return this process's environment without the variables that are private to it."""
    return _with_source_tree({name: value for name, value in os.environ.items() if name not in _DROPPED})


def worker_environment(
    launched: Mapping[str, Any], secrets: Mapping[str, str], token: str, gpus: str | None = None
) -> dict[str, str]:
    """Return the supervisor's environment with the submitter's variables and the assigned GPUs."""
    environment = {
        name: value for name, value in os.environ.items() if name not in CARRIED and name != DATABASE_URL
    }
    environment |= {**launched["env"], **secrets, TOKEN: token, "PYTHONUNBUFFERED": "1"}
    if gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpus
    own = str(Path(launched["python"]).parent)
    environment["PATH"] = os.pathsep.join([own, *filter(None, [environment.get("PATH", os.defpath)])])
    return environment


def check_secrets(secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets if all may become environment variables of a worker.

    Raise InvalidInput, which never contains a value, otherwise.
    """
    allowed = secret_names.secret_patterns()
    for name, value in secrets.items():
        known = SECRET_NAME.fullmatch(name) is not None and secret_names.matches(name, allowed)
        if not known or _REFUSED.fullmatch(name):
            raise InvalidInput(
                f"A secret cannot be named {name[:80]!r}.",
                f"Use a name such as ILAB_TEACHER_API_KEY; these patterns are allowed: {', '.join(allowed)}.",
            )
        if not isinstance(value, str) or _NO_TEXT.search(value) or len(value) > _MAX_SECRET:
            raise InvalidInput(
                f"The value of the secret {name} is not a text of at most {_MAX_SECRET} characters."
            )
    return dict(secrets)


def _cwd() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return str(Path.home())


def _with_source_tree(environment: dict[str, str]) -> dict[str, str]:
    """Add the source tree to PYTHONPATH if this package is not installed."""
    root = Path(__file__).resolve().parents[3]
    if root.name not in ("site-packages", "dist-packages"):
        before = [
            part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part and part != str(root)
        ]
        environment = {**environment, "PYTHONPATH": os.pathsep.join([str(root), *before])}
    return environment


def interpreter(chosen: str | Mapping[str, str] | None, kind: str) -> str:
    """Return the interpreter for a kind: as configured, from ILAB_JUPYTER_WORKER_PYTHON, or our own."""
    given = chosen if isinstance(chosen, str) else (chosen or {}).get(kind)
    return given or os.environ.get("ILAB_JUPYTER_WORKER_PYTHON") or sys.executable
