"""What the faults of a run came to: figures by fault, a last line for each, and a JSON file of them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

FAULT = r"test_f(\d\d)_"
PACKAGES = ("ilab-jupyter", "sqlalchemy", "jupyter-server", "hypothesis", "psycopg")


@dataclass
class Sheet:
    """One fault's figures."""

    fault: str
    n: int = 0
    seconds: float = 0.0
    tests: int = 0
    failed: int = 0
    skipped: int = 0
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, **counts: float) -> None:
        """Add to counts; what was not counted before begins at zero."""
        for name, count in counts.items():
            self.values[name] = self.values.get(name, 0) + count

    def most(self, **values: float) -> None:
        """Keep the greatest, as of a time that something took."""
        for name, value in values.items():
            self.values[name] = max(self.values.get(name, value), value)

    def put(self, **values: Any) -> None:
        """Set figures as they are."""
        self.values.update(values)

    @property
    def verdict(self) -> str:
        """Whether all its tests passed."""
        if self.failed:
            return f"FAILED({self.failed} of {self.tests})"
        return f"skipped({self.skipped} of {self.tests})" if self.skipped else "passed"

    @property
    def line(self) -> str:
        """All of it in one line."""
        parts = [f"n={self.n}"] if self.n else []
        parts += [f"{name}={_short(value)}" for name, value in self.values.items()]
        return " ".join([self.fault, *parts, f"seconds={self.seconds:.1f}", self.verdict])


class Figures:
    """The sheets of a run."""

    def __init__(self, *, full: bool) -> None:
        self.full = full
        self.sheets: dict[str, Sheet] = {}

    def of(self, path: Path) -> Sheet:
        """The sheet of the fault that a test file is named after, as test_f01_... is F1's."""
        found = re.match(FAULT, path.name)
        assert found is not None, f"{path.name} does not name its fault, as test_f01_... does"
        fault = f"F{int(found[1])}"
        return self.sheets.setdefault(fault, Sheet(fault))

    def merge(self, sheets: list[dict[str, Any]]) -> None:
        """Take in what another process of this run counted. A fault's tests all run in one."""
        self.sheets.update({sheet["fault"]: Sheet(**sheet) for sheet in sheets})

    def lines(self) -> list[str]:
        """One a fault, in their order."""
        return [sheet.line for sheet in sorted(self.sheets.values(), key=lambda sheet: int(sheet.fault[1:]))]

    def write(self, path: Path) -> None:
        """Into a JSON file, in which faults that did not run now keep what they had."""
        data: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        where = {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "machine": machine(),
            "versions": versions(),
        }
        for sheet in self.sheets.values():
            data[sheet.fault] = {
                **{"mode": "full" if self.full else "small", "n": sheet.n, "figures": sheet.values},
                **{"seconds": round(sheet.seconds, 1), "tests": sheet.tests, "verdict": sheet.verdict},
                **where,
            }
        path.parent.mkdir(parents=True, exist_ok=True)
        ordered = {fault: data[fault] for fault in sorted(data, key=lambda fault: int(fault[1:]))}
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps(ordered, indent=1) + "\n")
        temporary.replace(path)


def machine() -> dict[str, Any]:
    """What it ran on."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
    }


def versions() -> dict[str, str]:
    """Of what takes part."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace(" ", "_")
