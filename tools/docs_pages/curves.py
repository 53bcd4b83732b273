"""Validation accuracy over passes, from the committed runs, as SVG."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

__all__ = ["svg"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, which people who see colours differently can distinguish."""

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640, 300, 52, 28, 40


def svg(title: str, series: Mapping[str, Sequence[float]]) -> str:
    """One line for each series of fractions, a value a pass; the axis begins where the least last third begins."""
    longest = max(len(values) for values in series.values())
    values = [value for each in series.values() for value in each]
    low = min(min(each[len(each) // 3 :]) for each in series.values())
    high = max(values)
    span = (high - low) or 0.01
    plot_width, plot_height = WIDTH - LEFT - 12, HEIGHT - TOP - BOTTOM - 18 * ((len(series) + 1) // 2)

    def x(index: int) -> float:
        return LEFT + plot_width * index / max(1, longest - 1)

    def y(value: float) -> float:
        return TOP + plot_height * (1 - (max(value, low) - low) / span)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="12">',
        f'<title>{html.escape(title)}</title><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="16">{html.escape(title)}</text>',
    ]
    for step in range(4):
        value = low + span * step / 3
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - 12}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{100 * value:.1f}</text>')
    bottom = TOP + plot_height
    out += [
        f'<text x="{LEFT}" y="{bottom + 16}">pass 1</text>',
        f'<text x="{WIDTH - 12}" y="{bottom + 16}" text-anchor="end">{longest}</text>',
    ]
    for number, (name, each) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        dash = ' stroke-dasharray="5 3"' if number >= len(COLOURS) else ""
        points = " ".join(f"{x(index):.1f},{y(value):.1f}" for index, value in enumerate(each))
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.6"{dash} points="{points}"/>')
        row, column = divmod(number, 2)
        left, top = LEFT + column * plot_width / 2, bottom + 34 + 18 * row
        out.append(f'<line x1="{left}" x2="{left + 20}" y1="{top - 4}" y2="{top - 4}" stroke="{colour}" stroke-width="2"{dash}/>')
        out.append(f'<text x="{left + 26}" y="{top}">{html.escape(name)}</text>')
    return "\n".join([*out, "</svg>", ""])
