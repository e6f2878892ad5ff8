"""Charts as inline SVG: an interval bar, a scatter, bars with intervals. Colours are the style sheet's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 14, 44
FEW = 30
_LABEL_SIZE = 6.4


@dataclass(frozen=True, slots=True)
class Point:
    """One method in a scatter.

    Attributes:
        x: position on the horizontal axis, in the axis' unit.
        y: printed value.
        label: name of the method.
        link: its page.
        status: style of the point.
        interval: printed ends, None without one.
    """

    x: float
    y: float
    label: str
    link: str
    status: str
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """One subgroup of a breakdown; ``value`` and ``interval`` are printed numbers."""

    label: str
    n: int
    value: float
    interval: tuple[float, float] | None


def interval_bar(value: float, interval: tuple[float, float] | None, low: float, high: float) -> Markup:
    """A mark on a line from ``low`` to ``high``, with its interval; 72 by 10 pixels."""
    span = (high - low) or 1.0
    place = [2 + 68 * (number - low) / span for number in (value, *(interval or ()))]
    line = (
        Markup('<line class="ci" x1="{:.1f}" x2="{:.1f}" y1="5" y2="5"/>').format(*place[1:])
        if interval
        else ""
    )
    return Markup(
        '<svg class="bar" viewBox="0 0 72 10" width="72" height="10" aria-hidden="true" focusable="false">'
        '<line class="track" x1="2" x2="70" y1="5" y2="5"/>{}<circle cx="{:.1f}" cy="5" r="2.6"/></svg>'
    ).format(line, place[0])


def scatter(points: Sequence[Point], x_title: str, y_title: str, logarithmic: bool = False) -> Markup:
    """Accuracy against something; every point is a link with its numbers as a title.

    Labels are written where they do not cover one another, better methods first.
    """
    across = _axis([point.x for point in points], logarithmic)
    ends = [end for point in points for end in (point.interval or (point.y, point.y))]
    up = _axis(ends, False)
    marks, labels = [], []
    taken: list[tuple[float, float, float]] = []
    for point in sorted(points, key=lambda point: -point.y):
        x = LEFT + (WIDTH - LEFT - RIGHT) * across.fraction(point.x)
        marks.append(_mark(point, x, _down(up, point.y), up, x_title, y_title))
        labels.append(_free_label(point, x, _down(up, point.y), taken))
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="group" aria-label="{} against {}">{}{}{}{}</svg>'
    ).format(
        WIDTH,
        HEIGHT,
        y_title,
        x_title,
        _grid(across, up),
        _titles(x_title, y_title),
        Markup("").join(marks),
        Markup("").join(labels),
    )


def bars(rows: Sequence[Bar], title: str) -> Markup:
    """Horizontal bars with intervals and n; groups of fewer than 30 are greyed."""
    low, high = 0.0, max([100.0, *(row.interval[1] if row.interval else row.value for row in rows)])
    name_width, bar_width, row_height = 190, 300, 22
    parts = []
    for place, row in enumerate(rows):
        y = place * row_height
        end = bar_width * (row.value - low) / (high - low)
        ci = [name_width + bar_width * (edge - low) / (high - low) for edge in row.interval or ()]
        parts.append(
            Markup(
                '<g class="{}"><text x="{}" y="{}" text-anchor="end">{}</text>'
                '<rect x="{}" y="{}" width="{:.1f}" height="12"/>{}'
                '<text class="number" x="{}" y="{}">{:.1f}  n = {:,}</text></g>'
            ).format(
                "few" if row.n < FEW else "enough",
                name_width - 8,
                y + 14,
                _shortened(row.label, 28),
                name_width,
                y + 4,
                max(end, 0.0),
                Markup('<line class="ci" x1="{:.1f}" x2="{:.1f}" y1="{y}" y2="{y}"/>').format(*ci, y=y + 10)
                if ci
                else "",
                name_width + bar_width + 10,
                y + 14,
                row.value,
                row.n,
            )
        )
    return Markup('<svg class="chart bars" viewBox="0 0 640 {}" role="img" aria-label="{}">{}</svg>').format(
        len(rows) * row_height + 6, title, Markup("").join(parts)
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool

    def fraction(self, value: float) -> float:
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def _axis(values: Sequence[float], logarithmic: bool) -> _Axis:
    low, high = min(values), max(values)
    if logarithmic:
        low, high = low / 1.4, high * 1.4
        steps = [base * 10.0**power for power in range(-6, 9) for base in (1, 2, 5)]
        return _Axis(low, high, tuple(step for step in steps if low <= step <= high), True)
    margin = (high - low) * 0.08 or 1.0
    low, high = low - margin, high + margin
    step = _round_step((high - low) / 5)
    if all(float(value).is_integer() for value in values):  # years
        step = max(step, 1.0)
    first = math.ceil(low / step)
    return _Axis(low, high, tuple(place * step for place in range(first, math.floor(high / step) + 1)), False)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(base * power for base in (1, 2, 5, 10) if base * power >= rough)


def _down(axis: _Axis, value: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * axis.fraction(value)


def _mark(point: Point, x: float, y: float, up: _Axis, x_title: str, y_title: str) -> Markup:
    interval = ""
    told = f"{point.label}: {y_title} {point.y:.2f}, {x_title} {point.x:g}"
    if point.interval is not None:
        top, bottom = (_down(up, end) for end in reversed(point.interval))
        interval = Markup('<line class="ci" x1="{x:.1f}" x2="{x:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(
            top, bottom, x=x
        )
    return Markup(
        '<a href="{}" class="point {}" aria-label="{}">{}<circle cx="{:.1f}" cy="{:.1f}" r="5"/>'
        "<title>{}</title></a>"
    ).format(point.link, point.status, told, interval, x, y, told)


def _free_label(point: Point, x: float, y: float, taken: list[tuple[float, float, float]]) -> Markup:
    text = _shortened(point.label, 22)
    width = len(text) * _LABEL_SIZE
    for start, line in (
        (x + 8, y + 4),
        (x - 8 - width, y + 4),
        (x - width / 2, y - 9),
        (x - width / 2, y + 18),
    ):
        inside = start > LEFT and start + width < WIDTH - 2 and TOP < line < HEIGHT - BOTTOM
        free = all(
            abs(line - other) > 12 or start > right or start + width < left for left, right, other in taken
        )
        if inside and free:
            taken.append((start, start + width, line))
            return Markup('<text class="label {}" x="{:.1f}" y="{:.1f}">{}</text>').format(
                point.status, start, line, text
            )
    return Markup("")


def _grid(across: _Axis, up: _Axis) -> Markup:
    parts = []
    for tick in up.ticks:
        parts.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>'
                '<text class="tick" x="{}" y="{t:.1f}" text-anchor="end">{tick:g}</text>'
            ).format(
                LEFT, WIDTH - RIGHT, LEFT - 6, y=_down(up, tick), t=_down(up, tick) + 4, tick=round(tick, 6)
            )
        )
    for tick in across.ticks:
        x = LEFT + (WIDTH - LEFT - RIGHT) * across.fraction(tick)
        parts.append(
            Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{:g}</text>').format(
                x, HEIGHT - BOTTOM + 18, round(tick, 6)
            )
        )
    return Markup("").join(parts)


def _titles(x_title: str, y_title: str) -> Markup:
    return Markup(
        '<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text>'
        '<text class="axis" x="{}" y="{}" text-anchor="middle" transform="rotate(-90 {} {})">{}</text>'
    ).format(
        (LEFT + WIDTH - RIGHT) / 2,
        HEIGHT - 8,
        x_title,
        13,
        (TOP + HEIGHT - BOTTOM) / 2,
        13,
        (TOP + HEIGHT - BOTTOM) / 2,
        y_title,
    )


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
