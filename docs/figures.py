"""Puts the figures of benchmarks/results into the documents that tell them: `python docs/figures.py`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"


def faults(data: dict[str, Any]) -> str:
    """What the fault suite found, and below it what it was found on."""
    lines = ["| fault | n | figures | minutes | verdict |", "| --- | --- | --- | --- | --- |"]
    grounds: dict[str, list[str]] = {}
    for fault, run in data.items():
        figures = ", ".join(
            f"{name.replace('_', ' ')} {_shown(value)}" for name, value in run["figures"].items()
        )
        small = "" if run["mode"] == "full" else " (small)"
        lines.append(
            _row(fault, f"{run['n'] or ''}{small}", figures, f"{run['seconds'] / 60:.1f}", run["verdict"])
        )
        grounds.setdefault(_ground(run), []).append(fault)
    notes = [f"{', '.join(faults)}: {ground}" for ground, faults in grounds.items()]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


def control_plane(data: dict[str, Any]) -> str:
    """What benchmarks/control_plane.py measured, and on what."""
    lines = [
        _row("what", "figure", "limit", "", data["peer"], "note"),
        "| --- | ---: | ---: | --- | ---: | --- |",
    ]
    for row in data["rows"]:
        limit = "" if row["limit"] is None else f"{'≥' if row['at_least'] else '≤'} {row['limit']:,g}"
        met = {True: "met", False: "**over**", None: ""}[row["met"]]
        times = "" if row["ratio"] is None else f" ({row['ratio']:g} times as good)"
        peer = "" if row["peer"] is None else f"{_shown(row['peer'])}{times}"
        figure = f"{_shown(float(row['figure']))} {row['unit']}".strip()
        lines.append(_row(row["what"], figure, limit, met, peer, row["note"]))
    machine = data["machine"]
    note = (
        f"{data['time'][:10]}, {machine['processors']} cores ({machine['processor']}; ten million additions "
        f"in Python take {machine['seconds for ten million additions']:.2f} s), {machine['system']}; "
        f"{_named(data['versions'])}."
    )
    return "\n".join([*lines, "", note, ""])


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _ground(run: dict[str, Any]) -> str:
    machine = run["machine"]
    return (
        f"{run['date']}, {machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB of "
        f"memory, {machine['system']}; {_named(run['versions'])}."
    )


def _named(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def _shown(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


TABLES = {
    "reliability.md": ("faults.json", faults),
    "speed.md": ("control_plane.json", control_plane),
}


def main() -> int:
    """Replace the text between the markers."""
    for name, (source, table) in TABLES.items():
        document = ROOT / "docs" / name
        before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        data = json.loads((ROOT / "benchmarks/results" / source).read_text(encoding="utf-8"))
        made = f"{before}{BEGIN}\n{table(data)}\n{END}{after}"
        document.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
