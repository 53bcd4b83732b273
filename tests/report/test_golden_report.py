"""Every number of the golden report (:mod:`tests.report.golden`) against a computation by hand.

``around(mean, squares, n)`` is a mean with its 95 % t interval, mean ∓ t √(squares / (n - 1) / n): ``squares`` is the sum of
squared deviations, worked out in the comment beside it. Ratios are that of the logarithms, exponentiated.
"""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import pytest
import scipy.stats

from bpfree import report
from bpfree.published import Number, find
from bpfree.report.beside import SuiteFacts, SuiteRow
from bpfree.report.flags import flags
from bpfree.report.material import read_material
from bpfree.report.model import build_tables
from bpfree.report.published import suite_summary
from tests.report.golden import LARGE, OTHER, SMALL, write_first, write_second
from tests.report.golden_costs import COST_COLUMNS, COST_MEANS, EVALUATION_PEAKS, PASSES_HEADINGS, PASSES_TABLE

T = {1: 12.706204736174698, 2: 4.302652729749464, 3: 3.182446305283708}
"""Quantile 0.975 of Student's t by degrees of freedom; with 1 it is tan(0.475 π)."""

Interval = tuple[float, float, float]
LN2 = math.log(2)


def around(mean: float, squares: float, n: int) -> Interval:
    half = T[n - 1] * math.sqrt(squares / (n - 1) / n)
    return (mean, mean - half, mean + half)


def ratio(log_mean: float, log_squares: float, n: int) -> Interval:
    mean, low, high = (math.exp(value) for value in around(log_mean, log_squares, n))
    return (mean, low, high)


def inference(mean: float, squares: float, n: int) -> dict[str, Interval]:
    """Of seeds that count 1, 2, ...: p50 of 1 and 10 ms, p95 three times that, 7 x 128 images a second, 5 x 128 J."""
    units = {"p50_one_example_s": 1e-3, "p95_one_example_s": 3e-3, "p50_batch_of_128_s": 1e-2, "p95_batch_of_128_s": 3e-2}
    units |= {"images_per_s": 896.0, "of_1000_j": 640.0}
    return {f"inference_{key}": around(unit * mean, unit**2 * squares, n) for key, unit in units.items()}


MEANS: dict[tuple[tuple[str, str], str], dict[str, Interval]] = {
    (LARGE, "backprop"): {
        "test_accuracy_fraction": around(0.92, 0.0014, 4),  # -.02, 0, -.01, +.03: .0004 + .0001 + .0009
        "passes_count": around(4.5, 3.0, 4),  # 4, 4, 4, 6: 3 x .25 + 2.25
        "time_s": around(47.5, 7475.0, 4),  # 10, 20, 40, 120: 1406.25 + 756.25 + 56.25 + 5256.25
        "energy_j": around(475.0, 747500.0, 4),  # ten times the seconds
        "net_energy_j": around(300.0, 232200.0, 4),  # 60, 150, 300, 690: 57600 + 22500 + 0 + 152100
        "co2e_g": around(0.0475, 747500e-8, 4),  # 360 g/kWh / 3.6e6 J/kWh = 1e-4 g/J
    },
    (LARGE, "mono-forward"): {
        "test_accuracy_fraction": around(0.95, 0.0038, 4),  # -.03, 0, -.02, +.05: .0009 + .0004 + .0025
        "difference_fraction": around(0.03, 0.0006, 4),  # +.02, +.03, +.02, +.05: .0001 + 0 + .0001 + .0004
        "passes_count": around(4.0, 0.0, 4),
        "time_s": around(165.0, 134700.0, 4),  # 20, 80, 80, 480: 21025 + 7225 + 7225 + 99225
        "time_ratio": ratio(1.5 * LN2, LN2**2, 4),  # 2, 4, 2, 4: 4 x (ln 2 / 2)^2
        "energy_j": around(150.0, 45000.0, 4),  # 50, 50, 200, 300: 10000 + 10000 + 2500 + 22500
        "net_energy_j": around(80.0, 14600.0, 4),  # 20, 30, 100, 170: 3600 + 2500 + 400 + 8100
        "energy_ratio": ratio(-1.5 * LN2, LN2**2, 4),  # 1/2, 1/4, 1/2, 1/4
        "co2e_g": around(0.0150, 45000e-8, 4),
        **inference(2.5, 5.0, 4),  # 1, 2, 3, 4: 2.25 + .25 + .25 + 2.25
    },
    (LARGE, "pepita"): {  # without the joules of one run it has no energy at all
        "test_accuracy_fraction": around(0.92, 0.0014, 4),
        "difference_fraction": around(0.0, 0.0, 4),
        "passes_count": around(4.0, 4.0, 4),  # 3, 3, 5, 5
        "time_s": around(47.5, 7475.0, 4),
        "time_ratio": (1.0, 1.0, 1.0),
    },
    (LARGE, "forward-forward"): {  # of seeds 0 and 1, which finished
        "test_accuracy_fraction": around(0.79, 0.0002, 2),  # .80, .78
        "difference_fraction": around(-0.12, 0.0008, 2),  # -.10, -.14
        "passes_count": around(4.5, 0.5, 2),  # 4, 5
        "time_s": around(40.0, 200.0, 2),  # 30, 50
        "time_ratio": ratio(math.log(7.5) / 2, math.log(1.2) ** 2 / 2, 2),  # 3, 2.5
        "energy_j": around(550.0, 125000.0, 2),  # 300, 800
        "net_energy_j": around(35.0, 50.0, 2),  # 30, 40
        "energy_ratio": ratio(math.log(12) / 2, math.log(4 / 3) ** 2 / 2, 2),  # 3, 4
        "co2e_g": around(0.0550, 125000e-8, 2),
    },
    (SMALL, "backprop"): {
        "test_accuracy_fraction": around(0.82, 0.0008, 2),  # .80, .84
        "passes_count": around(4.0, 0.0, 2),
        "time_s": around(9.0, 18.0, 2),  # 6, 12
        "energy_j": around(20.0, 200.0, 2),  # 10, 30
        "net_energy_j": around(10.0, 50.0, 2),  # 5, 15
        "co2e_g": around(0.0020, 200e-8, 2),
    },
    (SMALL, "mono-forward"): {
        "test_accuracy_fraction": around(0.865, 0.00045, 2),  # .85, .88
        "difference_fraction": around(0.045, 0.00005, 2),  # +.05, +.04
        "passes_count": around(4.0, 0.0, 2),
        "time_s": around(6.0, 18.0, 2),  # 3, 9
        "time_ratio": ratio(math.log(0.375) / 2, math.log(1.5) ** 2 / 2, 2),  # 1/2, 3/4
        "energy_j": around(95.0, 6050.0, 2),  # 40, 150
        "net_energy_j": around(15.0, 50.0, 2),  # 10, 20
        "energy_ratio": ratio(math.log(20) / 2, math.log(1.25) ** 2 / 2, 2),  # 4, 5
        "co2e_g": around(0.0095, 6050e-8, 2),
        **inference(1.5, 0.5, 2),
    },
    (OTHER, "backprop"): {
        "test_accuracy_fraction": around(0.65, 0.005, 3),  # .70, .60, .65
        "passes_count": (4.0, 4.0, 4.0), "time_s": (2.0, 2.0, 2.0), "energy_j": (8.0, 8.0, 8.0), "net_energy_j": (4.0, 4.0, 4.0),
        "co2e_g": (0.0008, 0.0008, 0.0008),
    },
    (OTHER, "mono-forward"): {
        "test_accuracy_fraction": around(0.671, 0.004902, 3),  # +.049, -.050, +.001: .002401 + .0025 + .000001
        "difference_fraction": around(0.021, 0.000002, 3),  # +.020, +.021, +.022
        "passes_count": (4.0, 4.0, 4.0), "time_s": (5.0, 5.0, 5.0), "time_ratio": (2.5, 2.5, 2.5),
        "energy_j": (2.0, 2.0, 2.0), "net_energy_j": (1.0, 1.0, 1.0), "energy_ratio": (0.25, 0.25, 0.25),
        "co2e_g": (0.0002, 0.0002, 0.0002),
        **inference(2.0, 2.0, 3),
    },
}  # fmt: skip

FOUR = "not judged: 4 seeds, at least 5 are needed"
LOST = "unreliable: 1 of 4 runs diverged and 1 of 4 runs failed"

SINGLE: dict[tuple[tuple[str, str], str], tuple[Any, ...]] = {
    # verdict, runs that reached 0.9, median s and J to it, FLOPs and bytes (the largest), runs, ok, diverged, failed
    # 5, 10, 20, 80 s: (10 + 20) / 2; 50, 100, 200, 800 J
    (LARGE, "backprop"): ("", 4, 15.0, 150.0, 3_000_030, 4099, 4, 4, 0, 0),
    # exactly 0.9 in pass 2 of 4: 10, 40, 40, 240 s; 25, 25, 100, 150 J
    (LARGE, "mono-forward"): (FOUR, 4, 40.0, 62.5, 2_000_030, 3075, 4, 4, 0, 0),
    # pass 1 of 3 and pass 3 of 5: 10/3, 20/3, 24, 72 s
    (LARGE, "pepita"): (FOUR, 4, (20 / 3 + 24) / 2, None, 4_000_030, 5123, 4, 4, 0, 0),
    # never, 30 s, lost, lost
    (LARGE, "forward-forward"): (LOST, 1, math.inf, math.inf, 5_000_010, 6145, 4, 2, 1, 1),
    (SMALL, "backprop"): ("", 2, 4.5, 10.0, 3_000_010, 4097, 2, 2, 0, 0),  # 3, 6 s; 5, 15 J
    (SMALL, "mono-forward"): (
        "not judged: 2 seeds, at least 5 are needed",
        2,
        3.0,
        47.5,
        2_000_010,
        3073,
        2,
        2,
        0,
        0,
    ),  # 1.5, 4.5 s; 20, 75 J
    (OTHER, "backprop"): ("", 3, 1.0, 4.0, 3_000_020, 4098, 3, 3, 0, 0),
    (OTHER, "mono-forward"): ("not judged: 3 seeds, at least 5 are needed", 3, 2.5, 1.0, 2_000_020, 3074, 3, 3, 0, 0),
}

FLOPS_TO_TARGET = {
    # 10 steps a pass, of 3.5 M: 2, 2, 2, 4 passes
    (LARGE, "backprop"): 70e6,
    (LARGE, "mono-forward"): 60e6,  # 2 passes of 2 M a step with even seeds, of 4 M with odd ones: 40, 80, 40, 80
    (LARGE, "pepita"): 90e6,  # of 4.5 M: 1, 1, 3, 3 passes
    (LARGE, "forward-forward"): math.inf,
    (SMALL, "backprop"): 70e6,
    (SMALL, "mono-forward"): 60e6,  # 40, 80
    (OTHER, "backprop"): 70e6,
    (OTHER, "mono-forward"): 40e6,  # 40, 80, 40
}

PASSES_TO_TARGET = {"backprop": 2.0, "mono-forward": 2.0, "pepita": 2.0, "forward-forward": None}
"""Medians of 2, 2, 2, 4 and of 2, 2, 2, 2 and of 1, 1, 3, 3."""

SINGLE_COLUMNS = (
    "verdict", "n_reached_target", "median_time_to_target_s", "median_energy_to_target_j", "train_step_flops",
    "peak_memory_bytes", "n_seeds", "n_ok", "n_diverged", "n_failed",
)  # fmt: skip

MEAN_COLUMNS = {
    *COST_COLUMNS,
    "test_accuracy_fraction", "difference_fraction", "passes_count", "time_s", "time_ratio", "energy_j", "net_energy_j",
    "energy_ratio", "co2e_g", *inference(1.0, 1.0, 2),
}  # fmt: skip

MARKDOWN = (
    "| Arm | Test accuracy, % | Difference to backprop, points | Passes | Time | of which validation | Energy, gross / net "
    "| CO₂e | FLOPs per step | Peak memory, step / validation | Inference, 1 / 128 examples | Seeds |",
    "| backprop | 92.00 ± 3.44 | baseline | 4.5 (ended by patience: 4 of 4) | 47.5 s | 4.75 s | 475 J / 300 J | 47.5 mg | 3.5 M "
    "| 4 KiB / 8.01 KiB | – | 4 (4 ok) |",
    f"| mono-forward | 95.00 ± 5.66 | +3.00 [+0.75, +5.25] ({FOUR}) | 4 (ended by patience: 4 of 4) "
    "| 2 min 45 s (×2.83 [1.50, 5.35]) | 41.2 s (training ×2.36 [1.25, 4.46]) | 150 J / 80 J (×0.35 [0.19, 0.67]) | 15 mg "
    "| 3 M (×0.81 [0.43, 1.53]) | 3 KiB / 6.01 KiB | 2.5 ms / 25 ms (p95 7.5 ms / 75 ms) | 4 (4 ok) |",
    f"| pepita | 92.00 ± 3.44 | 0.00 [0.00, 0.00] ({FOUR}) | 4 (ended by patience: 4 of 4) | 47.5 s (×1.00) "
    "| 4.75 s (training ×1.00) | – | – | 4.5 M (×1.29) | 5 KiB / 10 KiB | – | 4 (4 ok) |",
    f"| forward-forward | 79.00 ± 12.71 (the 2 of 4 runs that finished) | −12.00 [−37.41, +13.41] ({LOST}) "
    "| 4.5 (ended by patience: 2 of 2) | 40 s (×2.74 [0.86, 8.72]) | 20 s (training ×1.52 [0.48, 4.85]) "
    "| 550 J / 35 J (×3.46 [0.56, 21.54]) | 55 mg | 5.5 M (×1.57) | 6 KiB / 12 KiB | – | 4 (2 ok, 1 diverged, 1 failed) |",
    *(f"| {' | '.join(texts)} |" for texts in (PASSES_HEADINGS, *PASSES_TABLE)),
    "| Arm | Reached by | Passes | Time | Energy | FLOPs |",
    "| backprop | 4 of 4 | 2 | 15 s | 150 J | 70 M |",
    "| mono-forward | 4 of 4 | 2 | 40 s | 62.5 J | 60 M |",
    "| pepita | 4 of 4 | 2 | 15.3 s | – | 90 M |",
    "| forward-forward | 1 of 4 | never | never | never | never |",
)
"""Of the first task. Half widths: 100 t √(.0014 / 12) = 3.44, 100 t √(.0038 / 12) = 5.66, 100 x 12.7062 x .01 = 12.71."""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_first(tmp_path_factory.mktemp("golden") / "first")


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_second(tmp_path_factory.mktemp("golden") / "second")


@pytest.fixture(scope="module")
def paths(first: Path) -> report.ReportPaths:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bpfree.report.page.charts", lambda table: [])
        return report.build([first], target=0.9)


def number(text: str) -> float | None:
    return float(text) if text else None


def test_every_number_of_the_csv(paths: report.ReportPaths) -> None:
    rows = {((row["dataset"], row["net"]), row["arm"]): row for row in csv.DictReader(io.StringIO(paths.csv.read_text()))}
    assert list(rows) == list(MEANS), "baseline first, then the order of the command"
    for key, row in rows.items():
        single = dict(zip(SINGLE_COLUMNS, SINGLE[key], strict=True))
        expected: dict[str, Any] = {
            **{name: single[name] for name in SINGLE_COLUMNS if name != "verdict"},
            "median_to_target_flops": FLOPS_TO_TARGET[key],
            "target_val_accuracy_fraction": 0.9, "n_interrupted": 0, "evaluation_peak_bytes": EVALUATION_PEAKS[key],
            **dict.fromkeys(("n_ended_by_hours", "n_ended_by_cap", "n_ended_by_itself"), 0),
            "n_ended_by_patience": single["n_ok"],
            **dict.fromkeys(("mean_balanced_accuracy_fraction", "mean_majority_share_fraction", "mean_recall_by_class_fraction")),
            "compile_time_s": None,
        }  # fmt: skip
        for column in MEAN_COLUMNS:
            values = (MEANS[key] | COST_MEANS[key]).get(column, (None, None, None))
            expected |= {f"{end}_{column}": value for end, value in zip(("mean", "low95", "high95"), values, strict=True)}
        words = {"dataset": key[0][0], "net": key[0][1], "arm": key[1], "baseline": "backprop", "verdict": single["verdict"]}
        assert {name: row[name] for name in (*words, "stamps")} == words | {"stamps": ""}
        assert set(row) == {*expected, *words, "stamps"}
        for name, value in expected.items():
            wanted = value if value is None else pytest.approx(value, rel=1e-9, abs=1e-12)
            assert number(row[name]) == wanted, (key, name)


def test_every_number_of_the_summary(first: Path) -> None:
    tables = report.summarise([first], 0.9)["tables"]
    assert [(table["dataset"], table["net"]) for table in tables] == [LARGE, SMALL, OTHER]
    assert {table["baseline"] for table in tables} == {"backprop"}
    assert {table["equivalence_margin_fraction"] for table in tables} == {1 / 360}, "no finer than one test image"
    for task, table in zip((LARGE, SMALL, OTHER), tables, strict=True):
        targets = {each["arm"]: each for each in table["target"]["arms"]}
        assert table["target"]["val_accuracy_fraction"] == 0.9
        for row in table["rows"]:
            single = dict(zip(SINGLE_COLUMNS, SINGLE[task, row["arm"]], strict=True))
            assert (row["verdict"] or "") == single["verdict"]
            assert (row["train_step_flops"], row["peak_memory_bytes"]) == (
                single["train_step_flops"],
                single["peak_memory_bytes"],
            )
            assert row["evaluation_peak_bytes"] == EVALUATION_PEAKS[task, row["arm"]]
            assert row["statuses"].get("ok", 0) == single["n_ok"]
            reached = targets[row["arm"]]
            assert (reached["n_reached"], reached["n_runs"]) == (single["n_reached_target"], single["n_seeds"])
            for name in ("time", "energy"):
                unit = {"time": "s", "energy": "j"}[name]
                value = single[f"median_{name}_to_target_{unit}"]
                expected = None if value is None or math.isinf(value) else pytest.approx(value)
                assert reached[f"median_{name}_{unit}"] == expected
            flops = FLOPS_TO_TARGET[task, row["arm"]]
            assert reached["median_flops"] == (None if math.isinf(flops) else flops)
            assert reached["median_passes_count"] == PASSES_TO_TARGET[row["arm"]]
            for column in MEAN_COLUMNS:
                values = (MEANS[task, row["arm"]] | COST_MEANS[task, row["arm"]]).get(column)
                if values is None:
                    assert row[column] is None, column
                else:
                    assert [row[column][end] for end in ("mean", "low", "high")] == pytest.approx(values, rel=1e-9, abs=1e-12)
                    assert row[column]["n"] == single["n_ok"]


def test_every_number_of_the_markdown(paths: report.ReportPaths) -> None:
    """Welch's half width of pepita, 100 t √(2 x .0014 / 12) with six degrees of freedom: 100 x 2.4469 x .015275 = 3.74."""
    lines = paths.markdown.read_text().splitlines()
    start = lines.index("## digits, mlp:2x8")
    table = [line for line in lines[start : lines.index("## digits, mlp:1x8")] if line.startswith("|") and "---" not in line]
    evidence = next(k for k, line in enumerate(table) if line.startswith("| Arm | Paired by seed, points |"))
    assert (*table[:evidence], *table[evidence + 4 :]) == MARKDOWN
    assert table[evidence + 2].startswith("| pepita | 0.00 [0.00, 0.00] | 0.00 [−3.74, +3.74] | +1.00 | – | 1 |")


def test_the_answer_and_its_numbers(first: Path) -> None:
    """The interval .03 ∓ .0225033 to one digit; the best of the arms that lost no run comes first."""
    assert report.summarise([first], 0.9)["tables"][0]["answer"] == (
        "Under ruleset quick+changed, with flags (lost runs), on digits with mlp:2x8, mono-forward, chosen from 3 arms "
        "by its test mean, reached 95.0 % test accuracy against backprop’s 92.0 % "
        f"(difference +3.0 [+0.7, +5.3] points; {FOUR}), at 2.83 [1.50, 5.35] times the time and 0.35 [0.19, 0.67] times the "
        f"energy. The other arms: pepita 92.0 % ({FOUR}); forward-forward 79.0 % ({LOST})."
    )


def test_p_values_are_corrected_over_all_tables(first: Path) -> None:
    """Student's t with three degrees: p = 1 - 2/π (atan x + x / (1 + x²)), x = t/√3; with one: 1 - 2/π atan t; Holm over five.

    Mono-Forward: t = .03 / √(.0006 / 12) = 3√2, x = √6, p = 1 - 2/π (1.18320 + .34993) = .02398, times 4 left .0959.
    Forward-Forward: t = .12 / .02 = 6, p = .10514, times 2 left .2103; the tie: 1. On the small net: t = .045 / .005 = 9,
    p = .0704, times 3 left .2113, which the later .2103 may not fall below. On the other data set
    p = 1 - t / √(t² + 2) = .00075509 with t² = 1323, times 5 .00377543.
    """
    x = math.sqrt(6)
    mono = 1 - 2 / math.pi * (math.atan(x) + x / (1 + x**2))
    small = 1 - 2 / math.pi * math.atan(9)
    other = 1 - math.sqrt(1323 / 1325)
    expected = {
        (LARGE, "mono-forward"): 4 * mono,
        (LARGE, "pepita"): 1.0,
        (LARGE, "forward-forward"): 3 * small,
        (SMALL, "mono-forward"): 3 * small,
        (OTHER, "mono-forward"): 5 * other,
    }
    tables = report.summarise([first], 0.9)["tables"]
    found = {((t["dataset"], t["net"]), row["arm"]): row["evidence"] for t in tables for row in t["rows"] if row["evidence"]}
    assert {key: evidence["p_difference_holm"] for key, evidence in found.items()} == pytest.approx(expected)
    assert {evidence["family_size"] for evidence in found.values()} == {5}


def test_sentences_of_what_is_not_judged(first: Path) -> None:
    tables = build_tables(read_material([first]), 0.9)
    sentences = [{row.arm: row.verdict.sentence for row in table.rows} for table in tables]
    assert sentences[0]["mono-forward"] == (
        "not judged: 4 paired seeds, at least 5 are needed; of the runs at hand: +3.00 points [+0.75, +5.25], 4 paired seeds."
    )
    assert sentences[0]["forward-forward"] == (
        f"{LOST}; of the runs at hand: −12.00 points [−37.41, +13.41], 2 paired seeds (seeds 2, 3 left out, run by one arm only)."
    )


def test_the_flags_are_the_two_lost_runs_and_nothing_else(first: Path) -> None:
    material = read_material([first])
    raised = flags(build_tables(material, 0.9), material)
    assert [(flag.key, flag.task) for flag in raised] == [("lost-runs", "digits, mlp:2x8")] * 2
    assert str(raised[0]) == (
        "digits, mlp:2x8: 1 of 4 runs of forward-forward diverged (as diverged), which counts against this arm."
    )


def test_by_default_the_target_is_99_per_cent_of_the_baselines_best(first: Path) -> None:
    """.99 x (3 x .92 + .95) / 4 = .918225: the exact arm misses it."""
    target = report.summarise([first])["tables"][0]["target"]
    assert target["val_accuracy_fraction"] == pytest.approx(0.918225)
    assert [each["n_reached"] for each in target["arms"]] == [4, 0, 2, 0]


def suite_row(ruleset: str, task: tuple[str, str], arm: str, **published: Any) -> SuiteRow:
    dataset, net = task
    told = Number(table="suite", dataset=dataset, net=net, algorithm=arm, second_hand=False, source="us", **published)
    return SuiteRow(
        section="Table 1", ruleset=ruleset, dataset=dataset, measured_dataset=dataset, net=net, arm=arm, number=told
    )  # fmt: skip


def test_a_published_number_stands_beside_its_own_ruleset_net_and_data_set(first: Path, second: Path) -> None:
    rows = [
        suite_row("second", LARGE, "mono-forward", accuracy=0.62, spread=(0.61, 0.64)),
        suite_row("first", LARGE, "mono-forward", accuracy=0.62, spread=(0.61, 0.64)),
        suite_row("first", SMALL, "mono-forward", difference=0.06),
        suite_row("first", OTHER, "mono-forward", accuracy=0.8, time_ratio=3.0, energy_ratio=0.5),
        suite_row("second", SMALL, "mono-forward", accuracy=0.8),
    ]
    facts = SuiteFacts(name="golden", title="Golden", paper="us")
    shown = suite_summary(facts, rows, {"first": first, "second": second})["rows"]
    keys = ("measured_accuracy", "measured_difference", "measured_time_ratio", "measured_energy_ratio", "gap", "n_seeds")
    expected = [
        (0.63, 0.11, 7.0, 9.0, 0.01, 2),  # .60 and .66; +.10 and +.12; 7 s to 1 s; 45 J to 5 J
        (0.95, 0.03, 2**1.5, 2**-1.5, 0.33, 4),
        (0.865, 0.045, math.sqrt(0.375), math.sqrt(20), -0.015, 2),  # the gap is of differences
        (0.671, 0.021, 2.5, 0.25, -0.129, 3),
        (None, None, None, None, None, 0),
    ]
    for row, values in zip(shown, expected, strict=True):
        assert [row[key] for key in keys] == [None if value is None else pytest.approx(value) for value in values]
    assert (shown[0]["gap_low95"], shown[0]["gap_high95"]) == (None, None)  # nobody knows how many runs were published
    assert (shown[0]["measured_low95"], shown[0]["measured_high95"]) == pytest.approx(around(0.63, 0.0018, 2)[1:])
    unknown = "cannot tell: the number of published runs is not known"
    few = "cannot tell: 2 measured runs, at least 3 are needed"
    assert [row["verdict"] for row in shown] == [few, unknown, few, unknown, "not run yet"]


def test_a_gap_has_welchs_interval_of_both_spreads(first: Path) -> None:
    """Measured .92, .95, .93, 1.00: s² / n = .0038 / 12. Published .93 ± .04 (2 SD) of 5 runs: s² / n = .0004 / 5.

    ν = (Σ s²/n)² / (Σ (s²/n)² / (n - 1)).
    """
    told = suite_row("first", LARGE, "mono-forward", accuracy=0.93, spread=(0.89, 0.97), n_runs="5")
    (shown,) = suite_summary(SuiteFacts(name="golden", title="Golden", paper="us"), [told], {"first": first})["rows"]
    mine, theirs = 0.0038 / 12, 0.0004 / 5
    nu = (mine + theirs) ** 2 / (mine**2 / 3 + theirs**2 / 4)
    half = scipy.stats.t.ppf(0.975, nu) * math.sqrt(mine + theirs)
    assert (shown["gap"], shown["gap_low95"], shown["gap_high95"]) == pytest.approx((0.02, 0.02 - half, 0.02 + half))
    assert shown["verdict"] == "cannot tell: the interval is too wide for the margin"
    assert shown["margin"] == 1 / 360


def test_published_watt_hours_become_joules_and_per_cent_fractions() -> None:
    """Three runs of 6.45229, 7.34536 and 6.63253 Wh are 24,516.216 J on average; 76.84, 77.21 and 83.92 % are 0.79323."""
    told = find("spyra2025-legacy-runs", "cifar10", "cnn3", "backprop")
    assert told.energy_j == pytest.approx(3600 * (6.45229 + 7.34536 + 6.63253) / 3)
    assert told.accuracy == pytest.approx((0.7684 + 0.7721 + 0.8392) / 3)
