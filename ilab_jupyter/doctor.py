"""Is this installation able to do its work? Each finding says what is wrong and the command that mends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from ilab_jupyter import engine, hardware, paths

EXTENSION = Path("share/jupyter/labextensions/ilab-jupyter/package.json")
SERVER_CONFIG = Path("etc/jupyter/jupyter_server_config.d/ilab_jupyter.json")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str
    hint: str = ""


def examine() -> list[Finding]:
    """Look at the interpreter, both extensions, the engine's libraries, the state folder and the hardware."""
    machine = hardware.look(paths.state_dir())
    return [*_extensions(), _engine(machine), *_torchvision(), _state(machine), _gpu(machine)]


def _extensions() -> list[Finding]:
    again = f"{sys.executable} -m pip install --force-reinstall --no-deps ilab-jupyter"
    try:
        editable = bool(distribution("ilab-jupyter").read_text("direct_url.json"))
    except PackageNotFoundError:
        editable = False
    develop = f"{sys.executable} -m pip install -e ." if editable else again
    return [
        Finding(
            what,
            found,
            str(Path(sys.prefix) / file) if found else "is not installed",
            "" if found else develop,
        )
        for what, file in (("server extension", SERVER_CONFIG), ("JupyterLab panel", EXTENSION))
        for found in [(Path(sys.prefix) / file).is_file()]
    ]


def _engine(machine: hardware.Machine) -> Finding:
    worker = os.environ.get("ILAB_JUPYTER_WORKER_PYTHON")
    if worker:
        return _worker(worker, tuple(machine.libraries))
    missing = [name for name, version in machine.libraries.items() if version is None]
    if missing:
        advice = f"{sys.executable} -m pip install 'ilab-jupyter[engine]', or set ILAB_JUPYTER_WORKER_PYTHON."
        return Finding("engine", False, f"{', '.join(missing)} not installed here", advice)
    return Finding(
        "engine", True, ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    )


def _worker(python: str, libraries: tuple[str, ...]) -> Finding:
    """The interpreter that jobs run in, where that is another one."""
    advice = "Set ILAB_JUPYTER_WORKER_PYTHON to a Python in which ilab-jupyter[engine] is installed."
    try:
        found = _versions(python)
    except (OSError, ValueError, AttributeError, subprocess.SubprocessError):
        return Finding("engine", False, f"{python} is no Python that runs", advice)
    missing = [name for name in ("ilab-jupyter", *libraries) if name not in found]
    if missing:
        return Finding("engine", False, f"{', '.join(missing)} not installed in {python}", advice)
    return Finding("engine", True, ", ".join(f"{name} {found[name]}" for name in libraries) + f" in {python}")


def _torchvision() -> list[Finding]:
    """A torchvision that does not fit the torch: transformers and trl then fail to import their classes."""
    worker = os.environ.get("ILAB_JUPYTER_WORKER_PYTHON")
    try:
        found = _versions(worker) if worker else {one: version(one) for one in ("torch", "torchvision")}
    except (OSError, ValueError, AttributeError, PackageNotFoundError, subprocess.SubprocessError):
        return []  # one of them is missing, which `engine` reports where it matters
    torch, torchvision = found.get("torch", ""), found.get("torchvision", "")
    if not engine.unfit_torchvision(torch, torchvision):
        return []
    python = worker or sys.executable
    return [
        Finding(
            "torchvision",
            False,
            f"torchvision {torchvision} does not fit torch {torch}: "
            "`from transformers import LlamaForCausalLM` fails outside of jobs",
            f"{python} -m pip uninstall torchvision, or install its +cpu build from download.pytorch.org",
        )
    ]


def _versions(python: str) -> dict[str, str]:
    """The distributions that another interpreter has, by name in small letters."""
    look = (
        "import json; from importlib.metadata import distributions;"
        "print(json.dumps({d.metadata['Name']: d.version for d in distributions()}))"
    )
    said = subprocess.run([python, "-c", look], capture_output=True, timeout=60, check=True).stdout
    return {str(name).lower().replace("_", "-"): str(found) for name, found in json.loads(said).items()}


def _state(machine: hardware.Machine) -> Finding:
    from ilab_jupyter.errors import PublicError
    from ilab_jupyter.jobs.local import LocalJobs

    folder = paths.state_dir()
    try:
        jobs = LocalJobs(folder)
        return Finding(
            "state folder",
            True,
            f"{folder}, {jobs.active()} active jobs, {machine.disk_free / 2**30:.0f} GiB free",
            " ".join(jobs.advice),
        )
    except PublicError as error:
        return Finding("state folder", False, error.message, error.hint)


def _gpu(machine: hardware.Machine) -> Finding:
    if machine.gpus:
        return Finding(
            "GPU", True, ", ".join(f"{gpu.name}, {gpu.memory_total / 2**30:.0f} GiB" for gpu in machine.gpus)
        )
    return Finding("GPU", True, machine.gpu_message)
