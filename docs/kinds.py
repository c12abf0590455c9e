"""Write the table of job kinds in guide.md from their declarations: `python docs/kinds.py`."""

from __future__ import annotations

from pathlib import Path

from ilab_jupyter.kinds.catalog import KINDS

PAGE = Path(__file__).with_name("guide.md")
BEGIN, END = "<!-- job kinds: begin -->\n", "<!-- job kinds: end -->\n"


def table() -> str:
    """One row for each kind: its command, summary, queue and secrets."""
    lines = ["| command | what it does | queue | secrets of the kernel |", "| --- | --- | --- | --- |"]
    for kind in KINDS.values():
        secrets = ", ".join(f"`{secret}`" for secret in kind.secrets)
        lines.append(f"| `{kind.usage}` | {kind.summary} | {kind.queue} | {secrets} |")
    return "\n".join([*lines, ""])


def updated(page: str) -> str:
    """The page with the current table between its markers."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
