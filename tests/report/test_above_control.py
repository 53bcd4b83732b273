"""A control whose hidden blocks stay as they were drawn: by how much each arm beats it, and which has learned nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bpfree import report, rulesets
from bpfree.records import Record
from tests.report.cases import BASE, UP, with_accuracies

CONTROL = "frozen"
ARMS = ("backprop", "mono-forward", "forward-forward", CONTROL)
SPREAD = (0.001, -0.001, 0.0005, -0.0005, 0.0)
"""By which the control differs from a constant distance: five equal differences would have no spread."""

FIXED = rulesets.load("quick").with_changes(trials=0)


def controlled(runs: Any, n: int = 5, arms: Sequence[str] = ARMS, **options: Any) -> list[Record]:
    """Mono-Forward is 2 to 4 points above backprop, backprop 10 above the control, Forward-Forward just as good as that."""
    low = [b - 0.1 + s for b, s in zip(BASE, SPREAD, strict=False)]
    around = [v + d for v, d in zip(low, (0.01, -0.01, 0.002, -0.004, 0.003), strict=False)]
    records = with_accuracies(
        runs.grid(arms, range(n), **options),
        backprop=BASE, mono_forward=[b + u for b, u in zip(BASE, UP, strict=True)], forward_forward=around, frozen=low,
    )  # fmt: skip
    return [r.model_copy(update={"untrained_control": r.arm == CONTROL}) for r in records]


def table_of(path: Path) -> dict[str, Any]:
    return report.summarise([path])["tables"][0]


@pytest.fixture(scope="module")
def run(shared_runs: Any) -> Path:
    return shared_runs("controlled", records=controlled(shared_runs))


def test_each_arm_has_its_paired_difference(run: Path) -> None:
    """The baseline too; the control itself has none."""
    found = {each["arm"]: each for each in table_of(run)["above_controls"]}
    assert list(found) == ["backprop", "mono-forward", "forward-forward"]
    assert {each["control"] for each in found.values()} == {CONTROL}
    for arm, expected in {"backprop": [0.1, 0.09902, 0.10098], "mono-forward": [0.13, 0.11694, 0.14306]}.items():
        assert [found[arm][end] for end in ("mean", "low", "high")] == pytest.approx(expected, abs=1e-5)  # t(4) = 2.77645
        assert found[arm]["n"] == 5
    assert {arm: each["beats"] for arm, each in found.items()} == {
        "backprop": True, "mono-forward": True, "forward-forward": False,
    }  # fmt: skip


def test_the_headline_names_an_arm_that_learned_nothing(run: Path) -> None:
    headline = table_of(run)["answer"]
    sentence = "learned nothing in its hidden blocks: forward-forward (+0.02 [−0.92, +0.96] points, 5 paired seeds"
    assert f"{sentence} against {CONTROL})." in headline
    assert headline.index("learned nothing") < headline.index("The other arms")


@pytest.mark.usefixtures("no_charts")
def test_every_output_says_by_how_much(run: Path, tmp_path: Path) -> None:
    paths = report.build([run], tmp_path / "report")
    (text,) = report.headline_rows([run])
    beats = f"mono-forward beats {CONTROL} by +13.00 [+11.69, +14.31] points, 5 paired seeds."
    below = f"forward-forward does not beat {CONTROL}: +0.02 [−0.92, +0.96] points, 5 paired seeds."
    for where in (paths.page.read_text(), paths.markdown.read_text(), "\n".join(text.notes)):
        assert beats in where
        assert below in where
        assert "An arm beats such a control where the paired 95 % interval" in where
    (headline,) = [line for line in paths.page.read_text().splitlines() if '<p class="answer' in line]
    assert "As far as these pairs show, forward-forward learned nothing in its hidden blocks." in headline
    (full,) = [line for line in paths.page.read_text().splitlines() if '<p class="full' in line]
    assert "As far as these pairs show, learned nothing in its hidden blocks: forward-forward" in full


def test_all_that_beat_it_leave_the_headline_as_it_is(runs: Any) -> None:
    records = controlled(runs, arms=("backprop", "mono-forward", CONTROL))
    assert "learned nothing" not in table_of(runs(records=records))["answer"]


def test_an_arm_below_it_under_a_ruleset_for_claims(runs: Any) -> None:
    """Backprop as it is, the control above it."""
    records = controlled(runs, arms=("backprop", CONTROL), digest=rulesets.digest(FIXED))
    above = with_accuracies(records, frozen=[b + u for b, u in zip(BASE, UP, strict=True)])
    headline = table_of(runs(records=above, ruleset=FIXED))["answer"]
    assert "learned nothing in its hidden blocks: backprop (−3.00 [−4.24, −1.76] points" in headline


@pytest.mark.parametrize(("n", "amount"), [(1, "+9.90 points"), (4, "+10.00 [+9.85, +10.15] points")])
def test_fewer_than_five_pairs_are_not_judged(runs: Any, n: int, amount: str) -> None:
    table = table_of(runs(records=controlled(runs, n)))
    assert all(each["beats"] is None for each in table["above_controls"])
    pairs = f"{n} paired seed{'s' if n > 1 else ''}"
    sentence = f"backprop less {CONTROL}: {amount}, {pairs}; not judged: {pairs}, at least 5 are needed."
    assert table["above_controls"][0]["sentence"] == sentence
    assert "learned nothing" not in table["answer"]


def test_lost_runs_and_unequal_rules_are_not_judged(runs: Any) -> None:
    records = [
        r if (r.arm, r.seed) != ("mono-forward", 1) else runs.record(r.arm, 1, status="diverged") for r in controlled(runs)
    ]
    sentences = {e["arm"]: e["sentence"] for e in table_of(runs(records=records))["above_controls"]}
    assert sentences["mono-forward"].endswith("4 paired seeds; not judged: 1 of 5 runs diverged.")
    legacy = rulesets.load("legacy-2025")
    unequal = runs("unequal", records=controlled(runs, digest=rulesets.digest(legacy)), ruleset=legacy)
    assert {e["sentence"].partition("not judged: ")[2] for e in table_of(unequal)["above_controls"]} == {"unequal rules."}


def test_two_controls_are_told_apart_and_not_compared(runs: Any) -> None:
    wide = "frozen:readout=all"
    records = [
        r.model_copy(update={"untrained_control": r.arm != "backprop", "algorithm": name, "variant": variant})
        for r in controlled(runs, arms=("backprop", CONTROL, wide))
        for name, _, variant in (r.arm.partition(":"),)
    ]
    found = [(e["arm"], e["control"]) for e in table_of(runs(records=records))["above_controls"]]
    assert found == [("backprop", CONTROL), ("backprop", "frozen (all)")]


def test_a_table_without_such_an_arm_says_nothing_of_it(runs: Any) -> None:
    assert table_of(runs())["above_controls"] == []


def test_the_interval_decides_and_not_the_correction_for_many_arms(runs: Any) -> None:
    """Differences of t = 3 with four degrees of freedom: p .04 alone, and .12 after Holm over three arms."""
    unit = (1.0, -1.0, 0.5, -0.5, 0.0)
    spread = [0.01 + 0.01 * 5**0.5 / 3 * u / (2.5 / 4) ** 0.5 for u in unit]
    records = with_accuracies(
        controlled(runs),
        frozen=BASE[:5],
        **{a: [b + s for b, s in zip(BASE, spread, strict=False)] for a in ("backprop", "mono_forward", "forward_forward")},
    )
    found = table_of(runs(records=records))["above_controls"]
    assert all(each["beats"] for each in found)
    assert all(each["p_difference_holm"] == pytest.approx(3 * 0.0399, abs=1e-3) for each in found)
