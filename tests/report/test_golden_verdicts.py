"""The verdicts of a table under `claim`, and every number they rest on, against a computation by hand.

Five studies. Mono-Forward differs from backprop by +2, +3, +2, +4, +4 points and takes 2, 4, 2, 4, √8 times the time at half the
energy; Forward-Forward by +.1, -.1, 0, +.1, -.1 points at e^.01, e^-.01, 1, e^.01, e^-.01 times the time; the control by +1, -1,
0, +2, -2 points. For Student's t with four degrees of freedom P(|T| < t) = x (1 + (1 - x²) / 2), x = t / √(t² + 4).
"""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from bpfree import report, rulesets, stats
from bpfree.records import CONTROL_SEEDS, Record
from bpfree.report.flags import flags
from bpfree.report.material import read_material
from bpfree.report.model import Table, build_tables
from tests.report.conftest import write_run
from tests.report.golden import LARGE, SHORT, record

RULES = rulesets.load("claim").with_changes(max_passes=6, patience=2, trials=8)
T4 = 2.7764451051977987
"""Quantile 0.975 of Student's t with four degrees of freedom."""

LN2 = math.log(2)
N_TEST = 1000
BACKPROP = (0.90, 0.92, 0.91, 0.93, 0.94)
POINTS = {
    "backprop": (0, 0, 0, 0, 0),
    "mono-forward": (20, 30, 20, 40, 40),
    "forward-forward": (1, -1, 0, 1, -1),
    "backprop#control": (10, -10, 0, 20, -20),
}
"""Differences to backprop, in test examples of 1,000."""

TIMES = (10.0, 20.0, 40.0, 80.0, 20.0)
TIME_LOGS = {
    "backprop": (0.0,) * 5,
    "mono-forward": (LN2, 2 * LN2, LN2, 2 * LN2, 1.5 * LN2),
    "forward-forward": (0.01, -0.01, 0.0, 0.01, -0.01),
    "backprop#control": (0.0,) * 5,
}


def bits(arm: str, study: int) -> np.ndarray:
    """The first so many test examples are right, rotated by study and arm, so that the arms err on different ones."""
    n_right = round(BACKPROP[study] * N_TEST) + POINTS[arm][study]
    return np.roll(np.arange(N_TEST) < n_right, 7 * study + 31 * list(POINTS).index(arm))


def golden_records() -> list[Record]:
    made = []
    for study in range(5):
        for arm in POINTS:
            control = arm.endswith("#control")
            plain = arm.removesuffix("#control")
            time_s = TIMES[study] * math.exp(TIME_LOGS[arm][study])
            joules = TIMES[study] * (5.0 if arm == "mono-forward" else 10.0)
            if (arm, study) == ("forward-forward", 3):
                joules = None
            right = bits(arm, study)
            seed = 10_000 * study + 3 + (CONTROL_SEEDS if control else 0)
            made.append(
                record(
                    RULES,
                    LARGE,
                    plain,
                    (study, right.mean(), time_s, joules, joules or 0.0, SHORT),
                    study=study,
                    n_test=N_TEST,
                    correct=base64.b64encode(np.packbits(right).tobytes()).decode(),
                    plan={"arms": list(POINTS), "studies": list(range(5))},
                ).model_copy(update={"arm": arm, "control": control, "seed": seed})
            )
    return made


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("verdicts") / "R", golden_records(), RULES)


@pytest.fixture(scope="module")
def table(directory: Path) -> Table:
    return build_tables(read_material([directory]))[0]


@pytest.fixture(scope="module")
def rows(directory: Path) -> dict[str, dict[str, Any]]:
    return {row["arm"]: row for row in report.summarise([directory])["tables"][0]["rows"]}


def about(mean: float, squares: float) -> list[float]:
    """Mean with its interval from the sum of squared deviations of five values."""
    half = T4 * math.sqrt(squares / 4 / 5)
    return [mean, mean - half, mean + half]


def ends(values: dict[str, Any]) -> list[float]:
    return [values[end] for end in ("mean", "low", "high")]


def test_words(rows: dict[str, dict[str, Any]]) -> None:
    assert {arm: row["verdict"] for arm, row in rows.items()} == {
        "backprop": None,
        "mono-forward": "better",  # t = 3√5, x = √(45/49), p = .00257, of two .00514
        "forward-forward": "equivalent",  # TOST t = 2.5√5, x² = 31.25/35.25, p = .00251, of two .00502
        "backprop#control": "control",
    }
    assert [rows[arm]["time_word"] for arm in POINTS] == [None, "slower", "as fast", None]
    # half the energy in every pair: no spread, and the sign test of five gives 2 / 2^5 = .0625
    assert [rows[arm]["energy_word"] for arm in POINTS] == [None, "not told apart", None, None]


def test_differences_and_ratios(rows: dict[str, dict[str, Any]]) -> None:
    assert ends(rows["mono-forward"]["difference_fraction"]) == pytest.approx(about(0.03, 4e-4))
    assert ends(rows["forward-forward"]["difference_fraction"]) == pytest.approx(about(0.0, 4e-6), abs=1e-12)
    assert ends(rows["backprop#control"]["difference_fraction"]) == pytest.approx(about(0.0, 1e-3), abs=1e-12)
    assert ends(rows["mono-forward"]["time_ratio"]) == pytest.approx([math.exp(v) for v in about(1.5 * LN2, LN2**2)])
    assert rows["forward-forward"]["energy_ratio"] is None


def test_p_values_after_holm(rows: dict[str, dict[str, Any]]) -> None:
    def inside(t_squared: float) -> float:
        x_squared = t_squared / (t_squared + 4)
        return math.sqrt(x_squared) * (1 + (1 - x_squared) / 2)

    mono, forward, control = (rows[arm]["evidence"] for arm in list(POINTS)[1:])
    assert mono["p_difference_holm"] == pytest.approx(2 * (1 - inside(45)))
    assert forward["p_difference_holm"] == pytest.approx(1.0)
    assert forward["p_equivalence_holm"] == pytest.approx(2 * (1 - inside(31.25)) / 2)
    assert mono["p_equivalence_holm"] == pytest.approx((1 + inside((0.0275 / 0.01) ** 2 * 5)) / 2)
    assert (mono["family_size"], control["family_size"]) == (2, 1)
    assert mono["pairs"] == 5


def test_second_opinions(rows: dict[str, dict[str, Any]]) -> None:
    """Welch: variances of the means .0026/20 and .001/20, ν = 4 x 1.8² / (1.3² + .5²). Correlation .0016 / √(.001 x .0026)."""
    mono = rows["mono-forward"]["evidence"]
    nu = 4 * 1.8**2 / (1.3**2 + 0.5**2)
    half = scipy.stats.t.ppf(0.975, nu) * math.sqrt(0.00018)
    assert ends(mono["welch"]) == pytest.approx([0.03, 0.03 - half, 0.03 + half])
    assert mono["correlation"] == pytest.approx(0.0016 / math.sqrt(0.001 * 0.0026))
    mine, theirs = (np.stack([bits(arm, study) for study in range(5)]) for arm in ("mono-forward", "backprop"))
    expected = stats.hierarchical_bootstrap(mine, theirs)
    assert ends(mono["bootstrap"]) == [expected.mean, expected.low, expected.high]
    assert mono["bootstrap"]["mean"] == pytest.approx(0.03)
    assert mono["bootstrap"]["low"] < 0.02 < 0.04 < mono["bootstrap"]["high"], "the test examples are in it"


def test_the_least_difference_has_a_power_of_80_per_cent(rows: dict[str, dict[str, Any]]) -> None:
    """Of five pairs with a standard deviation of .01 at α / 2, the strictest level of the family of two."""
    least = rows["mono-forward"]["evidence"]["least_difference_fraction"]
    critical, shift = scipy.stats.t.ppf(1 - 0.025 / 2, 4), least / 0.01 * math.sqrt(5)
    power = scipy.stats.nct.sf(critical, 4, shift) + scipy.stats.nct.cdf(-critical, 4, shift)
    assert power == pytest.approx(0.8, abs=1e-6)


def test_sentences(table: Table, rows: dict[str, dict[str, Any]]) -> None:
    """Half width 100 T √(.0004 / 20) = 1.2417."""
    least = 100 * rows["mono-forward"]["evidence"]["least_difference_fraction"]
    assert [row.arm for row in table.rows] == list(POINTS), "the control is the last row"
    assert table.rows[1].verdict.sentence == (
        "better: +3.00 points [+1.76, +4.24], p = 0.0051 after Holm's correction, 5 paired studies. "
        f"With a chance of 0.8 it could have shown a difference of {least:.2f} points."
    )
    assert table.rows[3].verdict.sentence == (
        "the same rule with other draws differs by +0.00 points [−1.96, +1.96], 5 paired studies."
    )
    assert table.rows[3].label == "backprop against itself"


def test_the_answer_is_at_equal_rules_because_nothing_is_flagged(directory: Path, rows: dict[str, dict[str, Any]]) -> None:
    material = read_material([directory])
    assert [str(flag) for flag in flags(build_tables(material), material)] == []
    summary = report.summarise([directory])
    least = 100 * rows["mono-forward"]["evidence"]["least_difference_fraction"]
    low, high = (math.exp(1.5 * LN2 + side * T4 * LN2 / math.sqrt(20)) for side in (-1, 1))
    assert summary["standing"] == ""
    assert summary["tables"][0]["answer"] == (
        "At equal rules on digits with mlp:2x8, mono-forward, chosen from 2 arms by its test mean, reached 95.0 % test "
        f"accuracy against backprop’s 92.0 % (difference +3.0 [+1.8, +4.2] points: better, where {least:.1f} points could be "
        f"shown), at 2.83 [{low:.2f}, {high:.2f}] times the time (slower) and 0.50 [0.50, 0.50] times the energy (not told "
        "apart). The other arms: forward-forward 92.0 % (equivalent). Control: backprop against itself, with other draws, "
        "differs by 0.00 [−1.96, +1.96] points."
    )


def test_what_the_numbers_hold_for(directory: Path) -> None:
    conditions = report.summarise([directory])["conditions"]
    assert conditions[0].startswith("Studies 0 to 4, split seed 0: a study has points, seeds and a measured run of its own")
    assert any("Holm's correction over 2 comparisons with the baseline in one table" in line for line in conditions)


def test_the_evidence_stands_on_page_and_in_markdown(directory: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bpfree.report.page.charts", lambda table: [])
        paths = report.build([directory])
    half = scipy.stats.t.ppf(0.975, 4 * 1.8**2 / (1.3**2 + 0.5**2)) * math.sqrt(0.00018)
    welch = f"+3.00 [−{100 * (half - 0.03):.2f}, +{100 * (half + 0.03):.2f}]"
    line = f"| mono-forward | +3.00 [+1.76, +4.24] | {welch} | +0.99 |"
    assert line in paths.markdown.read_text()
    assert "What the verdicts rest on" in paths.page.read_text()
    assert welch in paths.page.read_text()
