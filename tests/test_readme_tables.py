"""The tables of README.md hold the numbers of the committed reports."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ARMS = {
    "backprop": "backprop",
    "mono-forward (joint)": "mono-forward",
    "mono-forward (staged)": "mono-forward:schedule=staged",
    "deep-supervision": "deep-supervision",
}


def table(heading: str) -> dict[str, list[str]]:
    """The rows of the README table whose first heading is ``heading``: arm to its other cells."""
    after = (ROOT / "README.md").read_text().split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in after.splitlines()[2:]]
    return {cells[0]: cells[1:] for cells in rows}


def summary(name: str) -> dict[str, dict[str, str]]:
    with (ROOT / "benchmarks" / "results" / name / "report" / "summary.csv").open() as lines:
        return {row["arm"]: row for row in csv.DictReader(lines)}


def points(row: dict[str, str], name: str) -> float:
    return 100 * float(row[name])


def signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


@pytest.mark.parametrize(("heading", "directory"), [("MNIST", "mnist-mlp-2x1000"), ("Fashion-MNIST", "fashion-mnist-mlp-2x1000")])
def test_accuracies_differences_and_verdicts(heading: str, directory: str) -> None:
    printed, measured = table(heading), summary(directory)
    assert set(printed) == set(ARMS)
    for name, cells in printed.items():
        row = measured[ARMS[name]]
        mean, high = points(row, "mean_test_accuracy_fraction"), points(row, "high95_test_accuracy_fraction")
        assert cells[0] == f"{mean:.2f} ± {high - mean:.2f}"
        if name == "backprop":
            assert cells[1:3] == ["", ""]
            continue
        ends = [points(row, f"{which}_difference_fraction") for which in ("mean", "low95", "high95")]
        assert cells[1] == "{} [{}, {}]".format(*map(signed, ends))
        assert cells[2] == row["verdict"]


def test_time_and_energy_of_mnist() -> None:
    measured = summary("mnist-mlp-2x1000")
    for name, cells in table("MNIST").items():
        row = measured[ARMS[name]]
        if name == "backprop":
            assert cells[3:] == [f"{float(row['mean_time_s']):.2f} s", f"{float(row['mean_energy_j']):.0f} J"]
            continue
        for cell, quantity in zip(cells[3:], ("time", "energy"), strict=True):
            mean, low, high = (float(row[f"{which}_{quantity}_ratio"]) for which in ("mean", "low95", "high95"))
            assert cell == f"×{mean:.2f} [{low:.2f}, {high:.2f}]"


def test_step_of_backprop_in_the_text() -> None:
    row = summary("mnist-mlp-2x1000")["backprop"]
    step_ms = 1000 * float(row["mean_training_time_s"]) / float(row["mean_steps_count"])
    gflop = float(row["mean_step_flops"]) / 1e9
    (text,) = re.findall(
        r"backprop's step took ([\d.]+) ms, and at the data sheet's 67 TFLOP/s its ([\d.]+) GFLOP take ([\d.]+) ms",
        " ".join((ROOT / "README.md").read_text().split()),
    )
    assert text == (f"{step_ms:.2f}", f"{gflop:.2f}", f"{gflop / 67:.2f}")
