"""Cells and sentences about one arm or one row, at the borders where they change: by value."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bpfree.published import Number
from bpfree.report import evidence, published, quantities, tables, words
from bpfree.report.above_control import AboveControl
from bpfree.report.audit import Flag
from bpfree.report.beside import Beside, SuiteFacts, SuiteRow
from bpfree.report.model import ArmRow, SeedMean
from bpfree.report.quantities import QUANTITIES
from bpfree.report.verdicts import ArmVerdict


def arm(label: str = "A", index: int = 1, statuses: dict[str, int] | None = None, verdict: str = "", **given: Any) -> ArmRow:
    """An arm with the means and largest values that are named; the others were not measured."""
    means: dict[str, SeedMean | None] = {each.key: None for each in QUANTITIES if each.statistic != "largest"}
    largest: dict[str, int | None] = {each.key: None for each in QUANTITIES if each.statistic == "largest"}
    for name, value in given.items():
        quantity = getattr(quantities, name)
        if quantity.statistic == "largest":
            largest[quantity.key] = value
        else:
            means[quantity.key] = value if isinstance(value, SeedMean) or value is None else SeedMean(value, None, None, 1)
    counts = {"ok": 2} if statuses is None else statuses
    runs: Any = tuple(SimpleNamespace(status=status, stops=[], by_class=None) for status, n in counts.items() for _ in range(n))
    return ArmRow("a", label, index, runs, counts, ArmVerdict(verdict), means, largest)


def test_a_cell_of_accuracy() -> None:
    interval = SeedMean(0.9, 0.8, 1.0, 2)
    for row, shown in (
        (arm(statuses={"failed": 2}), ("–", "no run finished")),
        (arm(), ("–", "")),
        (arm(ACCURACY=interval), ("90.00 ± 10.00", "")),
        (arm(ACCURACY=SeedMean(0.9, 0.9, 0.9, 2)), ("90.00 ± 0.00", "the same for all seeds")),
        (arm(ACCURACY=0.9, statuses={"ok": 1}), ("90.00", "one seed, no interval")),
        (arm(ACCURACY=interval, statuses={"ok": 2, "failed": 1}), ("90.00 ± 10.00", "the 2 of 3 runs that finished")),
    ):
        assert (tables._accuracy(row).text, tables._accuracy(row).sub) == shown


def test_a_cell_of_runs_and_of_the_difference() -> None:
    row = arm(statuses={"interrupted": 1, "ok": 2, "failed": 3}, DIFFERENCE=SeedMean(0.01, -0.005, 0.025, 2), verdict="open: x")
    assert tables._seeds(row) == tables.Display("6", "2 ok, 3 failed, 1 interrupted", "worse")
    assert tables._seeds(arm(statuses={"interrupted": 1, "ok": 2})) == tables.Display("3", "2 ok, 1 interrupted", "")
    assert tables._difference(row) == tables.Display("+1.00 [−0.50, +2.50]", "open: x", "open")
    assert tables._difference(arm(index=0)) == tables.Display("baseline")
    assert arm(statuses={"diverged": 1, "failed": 2}).n_bad == 3


def test_cells_with_a_ratio() -> None:
    ratio = SeedMean(1.5, 1.0, 2.0, 2)
    assert tables._TIME.display(arm(TIME=2.0, TIME_RATIO=ratio)).sub == "×1.50 [1.00, 2.00]"
    assert tables._TIME.display(arm(TIME=2.0, TIME_RATIO=SeedMean(1.0, 1.0, 1.0, 2))).sub == "×1.00"
    assert tables._TIME.display(arm(TIME=2.0)).sub == ""
    assert tables._TIME.display(arm(TIME_RATIO=ratio)) == tables.Display("–")
    assert tables._validation(arm(VALIDATION_TIME=2.0, TRAINING_RATIO=ratio)).sub == "training ×1.50 [1.00, 2.00]"
    assert tables._validation(arm(VALIDATION_TIME=2.0)).sub == ""
    assert tables._two_lines(tables.Display("1 / 2", "×1 [2, 3]", "ratio")) == "1 /\n2\n×1"
    assert tables._two_lines(tables.Display("1", "a: b [c", "x")) == "1\na:\nb [c"
    assert tables._two_lines(tables.Display("1")) == "1"


def test_what_a_column_is_sorted_by() -> None:
    given = {
        "ACCURACY": 0.5, "DIFFERENCE": 0.25, "PASSES": 3.0, "TIME": 4.0, "VALIDATION_TIME": 5.0, "ENERGY": 6.0, "CO2E": 7.0,
        "FLOPS": 8.0, "PEAK_MEMORY": 9,
    }  # fmt: skip
    assert tables.sort_values(arm(index=4, statuses={"ok": 3, "failed": 1}, **given)) == {
        "arm": 4, "seeds": 3, "accuracy": 0.5, "difference": 0.25, "passes": 3.0, "time": 4.0, "validation": 5.0, "energy": 6.0,
        "co2e": 7.0, "flops": 8.0, "memory": 9, "inference": None,
    }  # fmt: skip
    nothing = tables.sort_values(arm(index=2, statuses={"failed": 1}))
    assert (nothing.pop("arm"), nothing.pop("seeds")) == (2, 0)
    assert set(nothing.values()) == {None}
    assert tables.sort_values(arm(ACCURACY=0.0))["accuracy"] == 0.0


def test_markdown_is_escaped() -> None:
    assert tables.escape_markdown("a \n b|c<d`e\\f") == "a b\\|c&lt;d\\`e\\\\f"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.00"), (0.004, "0.00"), (-0.004, "0.00"), (0.006, "+0.01"), (-0.5, "−0.50"), (12.0, "+12.00")]
)
def test_a_difference_with_its_sign(value: float, text: str) -> None:
    assert quantities.signed(value) == text
    assert quantities.points(value / 100) == text
    assert quantities.signed(12.345, 1) == "+12.3"
    assert (quantities._plain(3.0), quantities._plain(3.25), quantities._whole(1234.6)) == ("3", "3.2", "1,235")


@pytest.mark.parametrize(("low", "high", "digits"), [(0.0, 0.0019, 2), (0.0, 0.002, 1), (None, 0.001, 1), (0.001, None, 1)])
def test_digits_of_a_per_cent(low: float | None, high: float | None, digits: int) -> None:
    assert words._digits(arm(DIFFERENCE=SeedMean(0.001, low, high, 2))) == digits
    assert words._digits(arm()) == 1


def test_the_clause_about_the_difference() -> None:
    difference = SeedMean(0.01, -0.005, 0.025, 2)
    assert words._difference(arm(), 1) == "no difference can be given"
    assert words._difference(arm(verdict="no run finished"), 1) == "no run finished"
    assert words._difference(arm(DIFFERENCE=difference, verdict="x: y"), 1) == "difference +1.0 [−0.5, +2.5] points; x: y"
    assert words._difference(arm(DIFFERENCE=difference, verdict="x"), 2) == "difference +1.00 [−0.50, +2.50] points: x"
    row: Any = SimpleNamespace(compared=SimpleNamespace(accuracy=SimpleNamespace(least_detectable=0.0123)))
    assert words._least(row) == ", where 1.2 points could be shown"
    row.compared.accuracy.least_detectable = None
    assert words._least(row) == ""


def test_the_clause_about_costs() -> None:
    ratio = SeedMean(2.0, 1.5, 2.5, 3)
    row = arm(TIME_RATIO=ratio, ENERGY_RATIO=SeedMean(0.5, None, None, 1))
    row = ArmRow(**{**row.__dict__, "time_word": "slower", "energy_word": "less"})
    assert words._costs(row, True) == ", at 2.00 [1.50, 2.50] times the time (slower) and 0.50 times the energy (less)"
    assert words._costs(row, False) == ", at 2.00 [1.50, 2.50] times the time and 0.50 times the energy"
    assert words._costs(arm(), True) == ""
    assert (
        words._times(SeedMean(2.0, None, 3.0, 1), "t", "")
        == words._times(SeedMean(2.0, 1.0, None, 1), "t", "")
        == "2.00 times the t"
    )


def test_an_arm_that_lost_runs_ranks_behind() -> None:
    ranks = [arm(ACCURACY=0.99, statuses={"ok": 2, "failed": 1}), arm(), arm(ACCURACY=0.5), arm(ACCURACY=0.6)]
    assert [words._rank(row) for row in ranks] == [(False, 0.99), (True, 0.0), (True, 0.5), (True, 0.6)]
    assert words._rank(arm(ACCURACY=0.5, statuses={"ok": 1, "interrupted": 1})) == (True, 0.5)


@pytest.mark.parametrize(
    ("kinds", "text"),
    [
        ("", "At equal rules"), ("a", "Under ruleset R, with flags (a),"), ("abcd", "Under ruleset R, with flags (a, b, c, d),"),
        ("abacd", "Under ruleset R, with flags (a, b, c, d),"), ("abcde", "Under ruleset R, with flags (a, b, c, d and 1 more),"),
        ("abcdef", "Under ruleset R, with flags (a, b, c, d and 2 more),"),
    ],
)  # fmt: skip
def test_how_many_kinds_of_flags_the_headline_names(kinds: str, text: str) -> None:
    rules = {"comparable": True, "exceptions": (), "name": "R"}
    raised = [Flag(kind, "x") for kind in kinds]

    def told(**changes: Any) -> str:
        material: Any = SimpleNamespace(ruleset=SimpleNamespace(**rules | changes))
        return words._rules(material, raised)

    assert told() == text
    assert told(exceptions=("x",)) == "At rules with exceptions"
    assert told(exceptions=("x",), comparable=False) == "Under unequal rules, which support no comparison,"


@pytest.mark.parametrize(("p", "text"), [(None, "–"), (0.001, "0.001"), (0.00099, "< 0.001"), (0.0456, "0.046"), (1.0, "1")])
def test_a_p_value(p: float | None, text: str) -> None:
    assert evidence._p(p) == text


def test_an_interval_of_points() -> None:
    def interval(mean: float | None, low: float | None, high: float | None) -> Any:
        return SimpleNamespace(mean=mean, low=low, high=high)

    for given, text in (
        (None, "–"), (interval(None, 0.1, 0.2), "–"), (interval(0.1, None, 0.2), "+10.00"), (interval(0.1, 0.05, None), "+10.00"),
        (interval(0.1, -0.05, 0.25), "+10.00 [−5.00, +25.00]"),
    ):  # fmt: skip
        assert evidence._interval(given) == text


def above(low: float | None, n: int = 5, word: str = "ahead", mean: float | None = 0.01, **options: Any) -> AboveControl:
    interval = SimpleNamespace(mean=mean, low=low, high=None if low is None else 0.02)
    verdict = SimpleNamespace(word=word, reason="-1 seed, 2 seeds")
    compared: Any = SimpleNamespace(paired=SimpleNamespace(interval=interval, n=n), verdict=verdict)
    return AboveControl("A", "C", compared, **options)


def test_an_arm_and_a_control() -> None:
    assert [above(low).beats for low in (0.001, 0.0, -0.001, None)] == [True, False, False, None]
    assert [above(0.001, word=word).beats for word in ("not judged", "unreliable", "open")] == [None, None, True]
    assert above(0.001, refusal="x").beats is None
    assert above(0.005).sentence == "A beats C by +1.00 [+0.50, +2.00] points, 5 paired seeds."
    assert above(0.0, 1, noun="study").sentence == "A does not beat C: +1.00 [0.00, +2.00] points, 1 paired study."
    assert above(None, 2).sentence == "A less C: +1.00 points, 2 paired seeds; not judged: −1 seed, 2 seeds."
    assert above(None, 2, noun="study").sentence.endswith("points, 2 paired studies; not judged: −1 study, 2 studies.")
    assert above(0.1, refusal="x", mean=None).sentence == "A less C: no pair of finished runs; not judged: x."


ROW = SuiteRow(
    section="S", ruleset="r", dataset="D", measured_dataset="d", net="n", arm="a",
    number=Number(table="t", dataset="D", net="n", algorithm="a", second_hand=False, source="them"),
)  # fmt: skip


def beside(measured: Any = None, verdict: str = "v: why", word: str = "v", replication: Any = None, **number: Any) -> Beside:
    changed = Number(table="t", dataset="D", net="n", algorithm="a", **({"second_hand": False, "source": "them"} | number))
    return Beside(SuiteRow(**{**ROW.__dict__, "number": changed}), measured, verdict, word, replication)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (99.4, "99.4"),
        (100.0, "100"),
        (1234.6, "1235"),
        (-150.2, "-150"),
        (0.012345, "0.0123"),
        (0.0, "0"),
        (12.0, "12"),
        (20.0, "20"),
    ],
)
def test_three_digits_without_an_exponent(value: float, text: str) -> None:
    assert published._digits(value) == text


def test_cells_of_a_published_row() -> None:
    assert published._published(beside()).sub == "nothing is published"
    assert published._published(beside(difference=0.0)) == tables.Display("–", "only a difference is published")
    assert published._published(beside(accuracy=0.5, spread=(0.49, 0.52), second_hand=True)) == tables.Display(
        "50.00", "± 1.50, second-hand"
    )
    assert published._published(beside(accuracy=0.5)) == tables.Display("50.00", "")
    replication = SimpleNamespace(margin=0.005)
    assert published._verdict(beside(replication=replication)) == tables.Display("v", "why; margin ±0.50 points", "soft")
    assert published._verdict(beside(verdict="v", replication=replication)).sub == "margin ±0.50 points"
    assert published._verdict(beside()) == tables.Display("v: why", "", "soft")
    assert published._verdict(beside(word="not judged", replication=replication)) == tables.Display("v: why", "", "soft")
    assert [published._pair(*each) for each in (("–", "–"), ("1", "–"), ("–", "2"))] == ["–", "1 / –", "– / 2"]
    assert [published._times(each) for each in (None, 1.234, SeedMean(2.0, None, None, 1))] == ["–", "1.23", "2.00"]


def test_time_and_energy_in_all() -> None:
    row = arm(TIME=30.0, ENERGY=7200.0)
    assert published._in_all(beside(row, time_s=60.0), "time") == "60 s / 30 s"
    assert published._in_all(beside(row, energy_j=3600.0), "energy") == "1 Wh / 2 Wh"
    assert published._in_all(beside(row), "time") == "– / 30 s"
    assert published._in_all(beside(time_s=60.0), "time") == "60 s / –"
    assert published._in_all(beside(), "time") == published._in_all(beside(arm()), "energy") == ""


def suite_flags(*rows: Beside, **facts: Any) -> dict[str, str]:
    return {flag.key: flag.text for flag in published.suite_flags(SuiteFacts(name="s", title="T", paper="P", **facts), rows)}


def test_flags_of_a_suite() -> None:
    few, enough = (
        arm(ACCURACY=SeedMean(0.5, None, None, n), ENERGY=1.0) for n in (published.LEAST_RUNS - 1, published.LEAST_RUNS)
    )
    assert suite_flags(beside(enough)) == {}
    told = suite_flags(beside(few), beside(enough), beside(), stamps=("NOT COMPARABLE",), scale=0.25)
    assert list(told) == ["not-comparable", "scaled", "rows-not-run", "few-seeds"]
    assert told["rows-not-run"] == "1 of 3 rows were not run; each says why."
    assert told["few-seeds"].startswith(f"1 of 3 rows have fewer than {published.LEAST_RUNS} seeds")
    assert " 25 % of what" in told["scaled"]
    told = suite_flags(beside(arm(ACCURACY=None)), beside(arm(), second_hand=True))
    assert list(told) == ["second-hand", "no-energy"]
    assert told["second-hand"].startswith("1 of 2 published numbers are")


def test_a_suite_of_which_nothing_was_run_is_written_twice(tmp_path: Any) -> None:
    facts = SuiteFacts(name="s", title="T", paper="P", command="again")
    for _ in range(2):
        paths = published.build_suite(facts, [ROW], {}, tmp_path / "deep" / "out")
        assert paths.page.read_text().count("not run yet") == 1
        assert paths.markdown.read_text().endswith("\n\n    again\n")


def test_a_row_of_a_suite_in_words() -> None:
    shown = published._displays(beside(arm(statuses={"ok": 1}), difference=0.01, difference_interval=(-0.01, 0.03)))
    assert shown["measured"].sub == "1 seed, d"
    assert shown["difference"].text == "+1.00 [−1.00, +3.00] / –"
    assert published._displays(beside(arm(), difference=0.01))["difference"].text == "+1.00 / –"
    assert published._displays(beside(arm()))["measured"].sub == "2 seeds, d"
    assert published._displays(beside())["difference"].text == "–"
    assert (published._displays(beside())["measured"].sub, published._displays(beside())["arm"].sub) == ("", "n")


def test_the_columns_of_a_table() -> None:
    table: Any = SimpleNamespace(rows=[arm(index=0, ACCURACY=0.5), arm(TIME=2.0)], baseline_label="B")
    assert [column.key for column in tables.columns_of(table)] == ["arm", "accuracy", "difference", "time", "seeds"]
    table.rows[1] = arm(ACCURACY=0.5)
    assert [column.key for column in tables.columns_of(table)] == ["arm", "accuracy", "difference", "seeds"]
