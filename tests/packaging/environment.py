"""A virtual environment with copies of some packages that are installed here, made without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement


def closure(requirements: list[str]) -> list[Distribution]:
    """The installed distributions that satisfy `requirements`, and those that they require in turn.

    Raises PackageNotFoundError where one is not installed, ValueError where it has another version.
    """
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    pending = deque((requirement, "") for requirement in requirements)
    while pending:
        text, extra = pending.popleft()
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        installed = distribution(requirement.name)
        if not requirement.specifier.contains(installed.version, prereleases=True):
            raise ValueError(f"{text} is required, {installed.version} is installed")
        found[installed.metadata["Name"].lower()] = installed
        for wanted in ("", *sorted(requirement.extras)):
            if (requirement.name, wanted) not in seen:
                seen.add((requirement.name, wanted))
                pending.extend((needed, wanted) for needed in installed.requires or [])
    return list(found.values())


def make_environment(folder: Path, packages: list[Distribution]) -> Path:
    """Make the environment, without pip; return its bin folder.

    The packages are links to those installed here; their scripts run the new interpreter.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    [site] = (folder / "lib").glob("python*/site-packages")
    python = folder / "bin" / "python"
    for package in packages:
        files = package.files or []
        # A folder with this file belongs to one package; others, such as namespaces, are linked file by file.
        whole = {file.parts[0] for file in files if file.parts[1:] == ("__init__.py",)}
        for name in whole:
            (site / name).symlink_to(str(package.locate_file(name)))
        for file in files:
            source = Path(os.path.normpath(str(package.locate_file(file))))
            target = Path(os.path.normpath(site / str(file)))
            if file.parts[0] in whole or not source.is_file() or not target.is_relative_to(folder):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            content = source.read_bytes() if target.parent == python.parent else b""
            if content.startswith(b"#!") and b"python" in content.split(b"\n", 1)[0]:
                target.write_bytes(b"#!" + bytes(python) + b"\n" + content.split(b"\n", 1)[1])
                target.chmod(0o755)
            elif not target.exists():
                target.symlink_to(source)
    return python.parent


def pip(environment: Path, *arguments: str) -> list[str]:
    """The command that runs this interpreter's pip on the environment with this bin folder."""
    return [sys.executable, "-m", "pip", "--python", str(environment / "python"), *arguments]
