"""Figures of a fault run: per fault, a summary line for each, and a JSON file."""

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
    """The figures of one fault."""

    fault: str
    n: int = 0
    seconds: float = 0.0
    tests: int = 0
    failed: int = 0
    skipped: int = 0
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, **counts: float) -> None:
        """Add to counts, which start at zero."""
        for name, count in counts.items():
            self.values[name] = self.values.get(name, 0) + count

    def most(self, **values: float) -> None:
        """Keep the maximum, such as of durations."""
        for name, value in values.items():
            self.values[name] = max(self.values.get(name, value), value)

    def put(self, **values: Any) -> None:
        """Set values."""
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
        """Return the sheet of the fault that a test file is named after: test_f01_... is F1."""
        found = re.match(FAULT, path.name)
        assert found is not None, f"{path.name} does not name its fault, as test_f01_... does"
        fault = f"F{int(found[1])}"
        return self.sheets.setdefault(fault, Sheet(fault))

    def merge(self, sheets: list[dict[str, Any]]) -> None:
        """Merge the counts of another process of this run. The tests of a fault all run in one process."""
        self.sheets.update({sheet["fault"]: Sheet(**sheet) for sheet in sheets})

    def lines(self) -> list[str]:
        """Return one line per fault, in order."""
        return [sheet.line for sheet in sorted(self.sheets.values(), key=lambda sheet: int(sheet.fault[1:]))]

    def write(self, path: Path) -> None:
        """Write to a JSON file; faults that did not run keep their values."""
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
    """Describe the machine."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages involved."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace(" ", "_")
