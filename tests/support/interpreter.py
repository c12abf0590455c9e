"""An executable for `worker_python`: it is called like a job's interpreter and runs a script instead."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

SCRIPTED = Path(__file__).parent / "worker" / "scripted.py"


def make_interpreter(path: Path, script: Path = SCRIPTED, options: str = "") -> Path:
    """Write the executable; `script` gets the job's folder and the attempt, `-c` still runs Python code.

    `options` are the real interpreter's, for example `-S`.
    """
    path.write_text(
        f"#!{sys.executable} {options}\nimport os, runpy, sys\n"
        f"if '-c' in sys.argv: os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])\n"
        f"sys.argv = [{str(script)!r}, *sys.argv[-2:]]\n"
        f"sys.path.insert(0, {str(script.parent)!r})\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')\n"
    )
    path.chmod(0o755)
    return path


def worker_of(id: str) -> psutil.Process:
    """The process of a job's worker whose interpreter is such an executable, named `worker-python`."""
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "/worker-python" in " ".join(line[:2]) and any(id in part for part in line):
            return process
    raise LookupError(f"No worker of {id} is running.")
