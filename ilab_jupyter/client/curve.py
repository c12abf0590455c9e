"""The loss curve of a job: its points from the events, and its picture as SVG or PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

Point = tuple[float, float]
P = TypeVar("P")

WIDTH, HEIGHT = 560, 200
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 28
LINE, AXIS = "#2f7fd6", "#808080"  # both readable on a light and on a dark page


def points(history: Iterable[Mapping[str, Any]], limit: int = 600) -> list[Point]:
    """(step, loss) by step, at most `limit`; where a resumed attempt repeats a step, its loss counts."""
    by_step: dict[float, float] = {}
    for entry in history:
        step, loss = entry.get("step"), entry.get("loss")
        if isinstance(step, int | float) and isinstance(loss, int | float) and math.isfinite(loss):
            by_step[step] = float(loss)
    return thin(sorted(by_step.items()), limit)


def thin(curve: Sequence[P], limit: int) -> list[P]:
    """At most `limit` points evenly taken, the first and the last among them."""
    if len(curve) <= limit:
        return list(curve)
    gap = (len(curve) - 1) / (limit - 1)
    return [curve[round(index * gap)] for index in range(limit)]


def describe(curve: Sequence[Point]) -> str:
    """The curve in words, for those who do not see it."""
    (first, start), (last, end) = curve[0], curve[-1]
    return f"Loss {start:.4g} at step {first:g}, {end:.4g} at step {last:g}"


def svg(curve: Sequence[Point]) -> str:
    """A picture made of numbers only; needs two points."""
    (low, high), (bottom, top) = _span(x for x, _ in curve), _span(y for _, y in curve)
    position = [
        (
            LEFT + (x - low) / (high - low) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM),
        )
        for x, y in curve
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in position)
    base, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    labels = (
        f'<text x="{LEFT - 6}" y="{TOP + 8}" text-anchor="end">{top:.3g}</text>'
        f'<text x="{LEFT - 6}" y="{base}" text-anchor="end">{bottom:.3g}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 8}">{low:g}</text>'
        f'<text x="{right}" y="{HEIGHT - 8}" text-anchor="end">step {high:g}</text>'
        f'<text x="{right}" y="{TOP + 8}" text-anchor="end">loss</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}">'
        f'<g fill="{AXIS}" font-family="sans-serif" font-size="11">{labels}</g>'
        f'<path d="M{LEFT},{TOP}V{base}H{right}" fill="none" stroke="{AXIS}"/>'
        f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="1.8" stroke-linejoin="round"/>'
        "</svg>"
    )


def png(curve: Sequence[Point]) -> bytes:
    """The same picture through matplotlib, which is imported here only."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 2.2), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([x for x, _ in curve], [y for _, y in curve], color=LINE)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def _span(values: Iterable[float]) -> tuple[float, float]:
    """Lowest and highest, never equal, so that a flat curve has a place."""
    found = list(values)
    low, high = min(found), max(found)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
