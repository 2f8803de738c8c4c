"""Plots as SVG, written by hand: bars, and lines over a count. No dependency, no script inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, TOP, ROW = 760, 250, 230, 46, 24
COLOURS = ("#2b6cb0", "#dd6b20", "#38a169", "#805ad5", "#718096")
_STYLE = (
    "<style>text{font:12px sans-serif;fill:#2d3748}.t{font-weight:bold;font-size:14px}"
    ".n{fill:#718096}</style>"
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `value` None draws the note alone, `mark` is a tick further out (p95, a goal)."""

    label: str
    value: float | None
    note: str
    colour: int = 0
    mark: float | None = None


def bars(title: str, unit: str, rows: Sequence[Bar]) -> str:
    """Return horizontal bars on one scale that begins at 0."""
    highest = max([0.0] + [v for row in rows for v in (row.value, row.mark) if v is not None])
    scale = (WIDTH - LEFT - RIGHT) / (highest or 1.0)
    height = TOP + ROW * len(rows) + 12
    parts = [f'<text class="t" x="8" y="20">{escape(title)}</text>']
    parts.append(f'<text class="n" x="8" y="36">{escape(unit)}</text>')
    for number, row in enumerate(rows):
        y = TOP + ROW * number
        parts.append(
            f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(row.label)}</text>'
        )
        end = LEFT
        if row.value is not None:
            width = max(1.0, row.value * scale)
            end = LEFT + round(width)
            colour = COLOURS[row.colour % len(COLOURS)]
            parts.append(
                f'<rect x="{LEFT}" y="{y + 2}" width="{width:.1f}" height="16" fill="{colour}"/>'
            )
        if row.mark is not None:
            x = LEFT + row.mark * scale
            end = max(end, round(x))
            parts.append(f'<path d="M{x:.1f} {y}v20" stroke="#1a202c" stroke-width="2"/>')
        parts.append(f'<text class="n" x="{end + 6}" y="{y + 14}">{escape(row.note)}</text>')
    return _svg(height, parts)


def lines(title: str, unit: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return lines over a count, with their points named; the scale begins at 0."""
    points = [point for line in series.values() for point in line]
    if not points:
        return _svg(TOP + 20, [f'<text class="t" x="8" y="20">{escape(title)}</text>'])
    wide, high = max(x for x, _ in points), max(y for _, y in points) or 1.0
    floor_y, top_y, left = 300, 60, 60

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x / wide * (WIDTH - left - 120), floor_y - y / high * (floor_y - top_y)

    parts = [f'<text class="t" x="8" y="20">{escape(title)}</text>']
    parts.append(f'<text class="n" x="8" y="36">{escape(unit)}</text>')
    parts.append(
        f'<path d="M{left} {top_y}V{floor_y}H{WIDTH - 100}" stroke="#a0aec0" fill="none"/>'
    )
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        # Values and names of neighbours lie above and below their lines, not on one another.
        value_dy, name_dy = (-8, -1) if number % 2 == 0 else (17, 13)
        path = "L".join("{:.1f} {:.1f}".format(*at(x, y)) for x, y in line)
        parts.append(f'<path d="M{path}" stroke="{colour}" stroke-width="2" fill="none"/>')
        for x, y in line:
            px, py = at(x, y)
            parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>')
            parts.append(
                f'<text class="n" x="{px:.1f}" y="{py + value_dy:.1f}"'
                f' text-anchor="middle">{y:.3g}</text>'
            )
        end_x, end_y = at(*line[-1])
        parts.append(f'<text x="{end_x + 10:.1f}" y="{end_y + name_dy:.1f}">{escape(name)}</text>')
    for x in sorted({x for x, _ in points}):
        px, _ = at(x, 0)
        parts.append(
            f'<text class="n" x="{px:.1f}" y="{floor_y + 18}" text-anchor="middle">{x:g}</text>'
        )
    return _svg(floor_y + 30, parts)


def _svg(height: int, parts: list[str]) -> str:
    inside = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        f' width="{WIDTH}" height="{height}">\n{_STYLE}\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n{inside}\n</svg>\n'
    )
