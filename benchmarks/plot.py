"""Bars and lines as SVG, written by hand: a plot needs no library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 320, 64, 150, 40, 44
COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#475569")
Points = list[tuple[float, float]]
Place = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """series: points per line; bars: drawn instead of lines where the x values are positions 0, 1, 2 ... of `labels`"""

    name: str
    title: str
    x: str = ""
    y: str = ""
    series: dict[str, Points]
    labels: tuple[str, ...] = ()

    def svg(self) -> str:
        points = [point for line in self.series.values() for point in line]
        low, high = (0.0, float(len(self.labels))) if self.labels else (0.0, max(x for x, _ in points))
        top = max(y for _, y in points) * 1.1 or 1.0
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

        def place(x: float, y: float) -> tuple[float, float]:
            return LEFT + (right - LEFT) * (x - low) / ((high - low) or 1), bottom - (bottom - TOP) * y / top

        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            _text(LEFT, 22, self.title, size=15),
            _text((LEFT + right) / 2, HEIGHT - 8, self.x, anchor="middle"),
            _text(LEFT, TOP - 4, self.y, anchor="middle", size=11),
        ]
        for step in range(5):
            value = top * step / 4
            _, height = place(0, value)
            parts.append(f'<line x1="{LEFT}" y1="{height:.1f}" x2="{right}" y2="{height:.1f}" stroke="#e2e8f0"/>')
            parts.append(_text(LEFT - 6, height + 4, f"{value:.3g}", anchor="end"))
        if not self.labels:
            for step in range(5):
                value = high * step / 4
                parts.append(_text(place(value, 0)[0], bottom + 16, f"{value:.3g}", anchor="middle"))
        for number, (name, line) in enumerate(self.series.items()):
            colour = COLOURS[number % len(COLOURS)]
            parts += self._bars(number, line, colour, place) if self.labels else self._line(line, colour, place)
            parts.append(f'<rect x="{right + 10}" y="{TOP + 18 * number}" width="10" height="10" fill="{colour}"/>')
            parts.append(_text(right + 25, TOP + 9 + 18 * number, name))
        for number, label in enumerate(self.labels):
            parts.append(_text(place(number + 0.5, 0)[0], bottom + 16, label, anchor="middle"))
        return "\n".join([*parts, "</svg>"]) + "\n"

    def _bars(self, number: int, line: Points, colour: str, place: Place) -> Iterator[str]:
        bottom, width = place(0, 0)[1], (place(1, 0)[0] - place(0, 0)[0]) * 0.8 / len(self.series)
        for x, y in line:
            left, height = place(x + 0.1, y)
            left += number * width
            yield f'<rect x="{left:.1f}" y="{height:.1f}" width="{width:.1f}" height="{bottom - height:.1f}" fill="{colour}"/>'

    @staticmethod
    def _line(line: Points, colour: str, place: Place) -> Iterator[str]:
        dots = [place(x, y) for x, y in sorted(line)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for x, y in dots:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
