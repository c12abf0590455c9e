"""`python -m ilab_jupyter.kinds <job folder> <attempt>`: what a supervisor starts."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath

from ilab_jupyter import ending

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


def work(arguments: list[str]) -> int:
    """The worker's `main`. Its imports take seconds: a person sees before that it has begun."""
    print(starting(*arguments[:2]), flush=True)
    from ilab_jupyter.kinds.worker import main

    return main(arguments)


if __name__ == "__main__":
    ending.run(work, sys.argv[1:])
