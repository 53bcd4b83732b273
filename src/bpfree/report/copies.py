"""The headline table to paste elsewhere: LaTeX (booktabs), Markdown and CSV."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bpfree.report.model import Table
from bpfree.report.tables import Display, arm_displays, columns_of, csv_text, headings, markdown_headline

__all__ = ["copies", "latex_escaped", "latex_table"]

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "±": r"$\pm$", "−": "$-$", "×": r"$\times$", "–": "--", "₂": r"$_2$", "µ": r"$\mu$", "’": "'",
}  # fmt: skip
"""Characters that LaTeX reads in another way, or that not every font has."""


def latex_escaped(text: str) -> str:
    """Text as LaTeX shows it, on one line."""
    return re.sub(r"\s+", " ", "".join(_SPECIAL.get(letter, letter) for letter in text)).strip()


def latex_table(table: Table, stamps: Sequence[str] = ()) -> str:
    """A ``table`` for the package booktabs: the columns of the page, second values in brackets.

    Args:
        stamps: of the ruleset, which every output must carry; they begin the caption.
    """
    columns, named = columns_of(table), headings(table)
    rows = [[_cell(arm_displays(row)[column.key]) for column in columns] for row in table.rows]
    caption = ". ".join((*stamps, f"Results on {table.task_text}: means with 95 % intervals"))
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        rf"  \caption{{{latex_escaped(caption)}.}}",
        rf"  \begin{{tabular}}{{{''.join('r' if column.number else 'l' for column in columns)}}}",
        r"    \toprule",
        f"    {_line([latex_escaped(named[column.key]) for column in columns])}",
        r"    \midrule",
        *(f"    {_line(cells)}" for cells in rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _cell(display: Display) -> str:
    return latex_escaped(str(display))


def _line(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def copies(table: Table, stamps: Sequence[str] = ()) -> dict[str, str]:
    """The texts by their format."""
    return {
        "LaTeX": latex_table(table, stamps),
        "Markdown": "\n".join(markdown_headline(table)) + "\n",
        "CSV": csv_text([table], stamps),
    }
