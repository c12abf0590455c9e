"""Puts the table of a run's figures into docs/reliability.md: `python tests/faults/report.py [file.json]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"


def table(data: dict[str, Any]) -> str:
    """The figures as Markdown, and below them what they were measured on."""
    lines = ["| fault | n | figures | minutes | verdict |", "| --- | --- | --- | --- | --- |"]
    grounds: dict[str, list[str]] = {}
    for fault, run in data.items():
        figures = ", ".join(
            f"{name.replace('_', ' ')} {_shown(value)}" for name, value in run["figures"].items()
        )
        small = "" if run["mode"] == "full" else " (small)"
        cells = [fault, f"{run['n'] or ''}{small}", figures, f"{run['seconds'] / 60:.1f}", run["verdict"]]
        lines.append("| " + " | ".join(cells) + " |")
        grounds.setdefault(_ground(run), []).append(fault)
    notes = [f"{', '.join(faults)}: {ground}" for ground, faults in grounds.items()]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


def _ground(run: dict[str, Any]) -> str:
    machine, versions = (
        run["machine"],
        ", ".join(f"{name} {number}" for name, number in run["versions"].items()),
    )
    return (
        f"{run['date']}, {machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB of "
        f"memory, {machine['system']}; {versions}."
    )


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main(arguments: list[str]) -> int:
    """Replace what stands between the marks."""
    source = Path(arguments[0]) if arguments else ROOT / "benchmarks/results/faults.json"
    document = ROOT / "docs/reliability.md"
    text = document.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    made = table(json.loads(source.read_text(encoding="utf-8")))
    document.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}", encoding="utf-8")
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
