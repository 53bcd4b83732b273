"""Validation accuracy over passes, from the committed runs, as SVG."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

__all__ = ["svg"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, which people who see colours differently can distinguish."""

WIDTH, PLOT_HEIGHT, LEFT, RIGHT, TOP, BOTTOM, ROW = 680, 210, 52, 12, 28, 40, 18


def svg(title: str, series: Mapping[str, Sequence[float]]) -> str:
    """One line for each series of fractions, a value a pass.

    The axis begins at the least value of the last two thirds of the passes; what lies below in the first third is cut off.
    """
    longest = max(len(values) for values in series.values())
    low = min(min(each[len(each) // 3 :]) for each in series.values())
    high = max(max(each) for each in series.values())
    span = (high - low) or 0.01
    plot_width, bottom = WIDTH - LEFT - RIGHT, TOP + PLOT_HEIGHT
    height = bottom + BOTTOM + ROW * len(series)

    def x(index: int) -> float:
        return LEFT + plot_width * index / max(1, longest - 1)

    def y(value: float) -> float:
        return TOP + PLOT_HEIGHT * (1 - (value - low) / span)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        'font-family="sans-serif" font-size="12">',
        f'<title>{html.escape(title)}</title><rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<clipPath id="plot"><rect x="{LEFT}" y="{TOP - 2}" width="{plot_width}" height="{PLOT_HEIGHT + 3}"/></clipPath>',
        f'<text x="{LEFT}" y="16">{html.escape(title)}</text>',
        f'<text x="{LEFT}" y="{bottom + 16}">pass 1</text>',
        f'<text x="{WIDTH - RIGHT}" y="{bottom + 16}" text-anchor="end">{longest}</text>',
    ]
    for step in range(4):
        value = low + span * step / 3
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{100 * value:.1f}</text>')
    for number, (name, each) in enumerate(series.items()):
        stroke = f'stroke="{COLOURS[number % len(COLOURS)]}"' + (' stroke-dasharray="5 3"' if number >= len(COLOURS) else "")
        points = " ".join(f"{x(index):.1f},{y(value):.1f}" for index, value in enumerate(each))
        out.append(f'<polyline fill="none" clip-path="url(#plot)" {stroke} stroke-width="1.6" points="{points}"/>')
        top = bottom + BOTTOM + ROW * number
        out.append(f'<line x1="{LEFT}" x2="{LEFT + 20}" y1="{top - 4}" y2="{top - 4}" {stroke} stroke-width="2"/>')
        out.append(f'<text x="{LEFT + 26}" y="{top}">{html.escape(name)}</text>')
    return "\n".join([*out, "</svg>", ""])
