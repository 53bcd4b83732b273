"""The picture of README.md: accuracy and energy against backprop, with intervals, as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tools.readme.tables import interval, label, signed, summary

__all__ = ["MARGIN", "Panel", "picture"]

RUN = "mnist-mlp-2x1000"
MARGIN = 0.25
"""Percentage points within which accuracies count as equivalent (``equivalence_margin`` of the ruleset)."""

WIDTH, LEFT, TOP, ROW, BOTTOM = 780, 178, 62, 40, 62
INK, GREY, BAND, BLUE, ORANGE = "#222", "#767676", "#e8eef4", "#0072b2", "#d55e00"


@dataclass(frozen=True)
class Panel:
    """One quantity on an axis of its own.

    Attributes:
        title: what is drawn.
        ends: first and last value of the axis.
        ticks: values with a line and a number.
        equal: the value at which there is no difference.
        words: the text of a value.
        logarithmic: whether equal ratios have equal lengths.
    """

    title: str
    ends: tuple[float, float]
    ticks: Sequence[float]
    equal: float
    words: Callable[[float], str]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value lies between the ends: 0 to 1."""
        low, high, at = (math.log(each) if self.logarithmic else each for each in (*self.ends, value))
        return (at - low) / (high - low)


ACCURACY = Panel("test accuracy, points above backprop", (-0.4, 0.4), (-0.4, -0.2, 0.0, 0.2, 0.4), 0.0, signed)
ENERGY = Panel("energy, times backprop's", (0.6, 1.6), (0.6, 0.8, 1.0, 1.25, 1.6), 1.0, "×{:.2f}".format, logarithmic=True)
PLOTS = ((LEFT, 250), (LEFT + 320, 250))
"""Left end and width of each panel, in pixels."""


def picture() -> str:
    """One row for each arm but backprop: a dot and its 95 % interval in each panel."""
    arms = [row for row in summary(RUN) if row["mean_difference_fraction"]]
    bottom = TOP + ROW * len(arms)
    title = f"MNIST, {arms[0]['net']}, ruleset claim, {arms[0]['n_seeds']} studies, one H100: difference to backprop"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + BOTTOM}" width="{WIDTH}" '
        f'height="{bottom + BOTTOM}" role="img" font-family="sans-serif" font-size="13" fill="{INK}">',
        f'<title>{html.escape(title)}</title><rect width="{WIDTH}" height="{bottom + BOTTOM}" fill="#fff"/>',
        f'<text x="12" y="22" font-weight="bold">{html.escape(title)}</text>',
    ]
    for panel, (left, width) in zip((ACCURACY, ENERGY), PLOTS, strict=True):
        out += _axis(panel, left, width, bottom)
    for k, row in enumerate(arms):
        middle = TOP + ROW * (k + 0.5)
        out.append(f'<text x="12" y="{middle + 5:g}">{html.escape(label(row))}</text>')
        difference = [100 * value for value in interval(row, "difference_fraction")]
        out += _dot(ACCURACY, *PLOTS[0], middle, difference, BLUE)
        out += _dot(ENERGY, *PLOTS[1], middle, interval(row, "energy_ratio"), ORANGE)
    legend = f"Dot and line: mean and 95 % interval, paired by study. Grey band: ±{MARGIN} points, which count as equivalent."
    out.append(f'<text x="12" y="{bottom + BOTTOM - 10}" font-size="12" fill="{GREY}">{html.escape(legend)}</text>')
    return "\n".join([*out, "</svg>", ""])


def _axis(panel: Panel, left: float, width: float, bottom: float) -> Iterator[str]:
    yield f'<text x="{left + width / 2:g}" y="{TOP - 16}" text-anchor="middle">{html.escape(panel.title)}</text>'
    if panel is ACCURACY:
        start, end = (left + width * panel.place(side) for side in (-MARGIN, MARGIN))
        yield f'<rect x="{start:.1f}" y="{TOP}" width="{end - start:.1f}" height="{bottom - TOP}" fill="{BAND}"/>'
    for tick in panel.ticks:
        x = left + width * panel.place(tick)
        stroke = f'stroke="{GREY}"' if tick == panel.equal else 'stroke="#ddd"'
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" {stroke}/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" font-size="12" fill="{GREY}">{panel.words(tick)}</text>'


def _dot(panel: Panel, left: float, width: float, middle: float, values: Sequence[float], colour: str) -> Iterator[str]:
    at, low, high = (left + width * panel.place(value) for value in values)
    yield f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle:g}" y2="{middle:g}" stroke="{colour}" stroke-width="3"/>'
    yield f'<circle cx="{at:.1f}" cy="{middle:g}" r="5" fill="{colour}"/>'
    place = f'x="{at:.1f}" y="{middle - 9:g}" text-anchor="middle" font-size="12" fill="{colour}"'
    yield f"<text {place}>{panel.words(values[0])}</text>"
