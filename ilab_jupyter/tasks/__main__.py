"""`python -m ilab_jupyter.tasks <job folder> <attempt>`: what a supervisor starts."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath

_NAMED = ("torch", "transformers", "trl", "peft", "instructlab-sdg")


def starting(folder: str, attempt: str) -> str:
    """The first line of a log: what starts, and with which versions."""
    import ilab_jupyter

    found = []
    for name in _NAMED:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    python = f"Python {platform.python_version()}"
    said = ", ".join([f"ilab-jupyter {ilab_jupyter.__version__}", python, *found])
    return f"Starting {PurePath(folder).name}, attempt {attempt}: {said}"


if __name__ == "__main__":
    # Before the imports, which take seconds: a person sees at once that it has begun.
    print(starting(*sys.argv[1:3]), flush=True)
    from ilab_jupyter.tasks.worker import main

    sys.exit(main(sys.argv[1:]))
