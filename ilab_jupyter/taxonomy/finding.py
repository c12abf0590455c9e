"""Findings of the validation of a taxonomy: where, how severe, and a hint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, overload

from pydantic import BaseModel, ConfigDict, Field

from ilab_jupyter.display import Shown, table

Severity = Literal["error", "style"]


class Finding(Shown, BaseModel):
    """One thing wrong in a taxonomy. An error stops the generation, a matter of style does not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(description="Path below the taxonomy's root, with forward slashes.")
    line: int = Field(description="Counts from 1.")
    column: int = Field(description="In characters, counts from 1.")
    severity: Severity
    message: str
    hint: str = Field(default="", description="What to do about it.")

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True, eq=False)
class Findings(Shown, Sequence[Finding]):
    """All findings, by file and line. Equal to any sequence of the same findings; empty is false."""

    found: tuple[Finding, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Those that stop a generation."""
        return tuple(finding for finding in self.found if finding.severity == "error")

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Finding, ...]: ...
    def __getitem__(self, index: int | slice) -> Finding | tuple[Finding, ...]:
        return self.found[index]

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.found)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(self.found)

    def __str__(self) -> str:
        if not self.found:
            return "Nothing is wrong."
        return "\n".join(
            f"{finding.file}:{finding.line}:{finding.column}: {finding.severity}: {finding.message}"
            + (f" ({finding.hint})" if finding.hint else "")
            for finding in self.found
        )

    def _repr_html_(self) -> str:
        if not self.found:
            return "<p>Nothing is wrong.</p>"
        rows = [
            (one.severity, f"{one.file}:{one.line}:{one.column}", one.message, one.hint) for one in self.found
        ]
        return table(("severity", "where", "what", "hint"), rows)


def shown(text: str, limit: int = 80) -> str:
    """Foreign `text` for a message: one line, without control characters, shortened."""
    plain = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text[:limit])
    return plain + ("..." if len(text) > limit else "")
