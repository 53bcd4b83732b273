"""Tables of README.md and docs/results.md in Markdown, of the ``summary.csv`` of committed runs."""

from __future__ import annotations

import csv
from pathlib import Path

__all__ = ["RESULTS", "digits_table", "fashion_table", "interval", "label", "mnist_table", "points", "summary"]

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"

Row = dict[str, str]

LABELS = {"mono-forward": "mono-forward (joint)", "mono-forward:schedule=staged": "mono-forward (staged)"}


def summary(run: str) -> list[Row]:
    """The arms of a committed run, backprop first."""
    with (RESULTS / run / "report" / "summary.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return sorted(rows, key=lambda row: row["arm"] != row["baseline"])


def label(row: Row) -> str:
    """The name of an arm in a table."""
    return LABELS.get(row["arm"], row["arm"])


def points(row: Row, name: str) -> float:
    """A fraction in percentage points."""
    return 100 * float(row[name])


def signed(value: float) -> str:
    """With two digits, and a minus sign that is one."""
    return f"{value:+.2f}".replace("-", "−")


def interval(row: Row, quantity: str) -> tuple[float, float, float]:
    """Mean and 95 % interval of a quantity of the summary, such as ``time_ratio``."""
    mean, low, high = (float(row[f"{end}_{quantity}"]) for end in ("mean", "low95", "high95"))
    return mean, low, high


def _accuracy(row: Row) -> str:
    mean, high = points(row, "mean_test_accuracy_fraction"), points(row, "high95_test_accuracy_fraction")
    return f"{mean:.2f} ± {high - mean:.2f}"


def _difference(row: Row) -> str:
    if not row["mean_difference_fraction"]:
        return ""
    mean, low, high = (100 * value for value in interval(row, "difference_fraction"))
    return f"{signed(mean)} [{signed(low)}, {signed(high)}]"


def _ratio(row: Row, quantity: str) -> str:
    mean, low, high = interval(row, f"{quantity}_ratio")
    return f"×{mean:.2f} [{low:.2f}, {high:.2f}]"


def _time(row: Row) -> str:
    return _ratio(row, "time") if row["mean_time_ratio"] else f"{float(row['mean_time_s']):.2f} s"


def _energy(row: Row) -> str:
    return _ratio(row, "energy") if row["mean_energy_ratio"] else f"{float(row['mean_energy_j']):.0f} J"


def _table(headings: str, lines: list[list[str]]) -> str:
    cells = [cell.strip() for cell in headings.split("|")]
    rules = "|".join("---" if k in (0, cells.index("verdict")) else "---:" for k in range(len(cells)))
    return "\n".join([f"| {' | '.join(cells)} |", f"|{rules}|", *(f"| {' | '.join(line)} |" for line in lines)])


def mnist_table() -> str:
    """Accuracy, time and energy on MNIST under ``claim``."""
    lines = [
        [label(row), _accuracy(row), _difference(row), row["verdict"], _time(row), _energy(row)]
        for row in summary("mnist-mlp-2x1000")
    ]
    return _table("MNIST | test accuracy, % | difference to backprop, points | verdict | time | energy", lines)


def fashion_table() -> str:
    """Accuracy on Fashion-MNIST under ``claim``; its arms ran at once, so that times and energies cannot be compared."""
    lines = [[label(row), _accuracy(row), _difference(row), row["verdict"]] for row in summary("fashion-mnist-mlp-2x1000")]
    return _table("Fashion-MNIST | test accuracy, % | difference to backprop, points | verdict", lines)


def digits_table() -> str:
    """Accuracy of what ``make compare`` runs."""
    lines = [[label(row), _accuracy(row), _difference(row), row["verdict"]] for row in summary("digits-mlp-2x256")]
    return _table("digits | test accuracy, % | difference to backprop, points | verdict", lines)
