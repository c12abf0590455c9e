"""`python -m ilab_jupyter.kinds <job folder> <attempt>`: the entry point that a supervisor starts."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath

from ilab_jupyter import ending

_LIBRARIES = ("torch", "transformers", "trl", "peft", "instructlab-sdg")


def banner(folder: str, attempt: str) -> str:
    """The first line of a log: job, attempt and versions."""
    import ilab_jupyter

    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    python = f"Python {platform.python_version()}"
    versions = ", ".join([f"ilab-jupyter {ilab_jupyter.__version__}", python, *found])
    return f"Starting {PurePath(folder).name}, attempt {attempt}: {versions}"


def work(arguments: list[str]) -> int:
    """Print the banner, then run the worker, whose imports take seconds."""
    print(banner(*arguments[:2]), flush=True)
    from ilab_jupyter.kinds.worker import main

    return main(arguments)


if __name__ == "__main__":
    ending.run(work, sys.argv[1:])
