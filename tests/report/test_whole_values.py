"""What a whole report is put together from: places, defaults, margins, families and pairs; by value, on stand-ins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bpfree import stats
from bpfree.report import family, material, model, page, profiles
from bpfree.report.family import Contest
from bpfree.report.interim import ALPHA
from bpfree.report.stopping import stopping_flaw
from tests.report.test_report_stopping import RULES, audited


def stand_in(**values: Any) -> Any:
    return SimpleNamespace(**values)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A report of nothing; noted is how its directories were read."""
    noted: list[dict[str, Any]] = []

    def read(directories: Any, **options: Any) -> Any:
        noted.append(options)
        return stand_in(directories=tuple(directories), ruleset=stand_in(stamps=()))

    monkeypatch.setattr(page, "read_material", read)
    monkeypatch.setattr(page, "build_tables", lambda material, target: [])
    monkeypatch.setattr(page, "standing", lambda material: "")
    monkeypatch.setattr(page, "profile_chart", lambda tables: None)
    for name, text in (("markdown", "M"), ("csv_text", "C"), ("_page", "P"), ("summary", "S")):
        monkeypatch.setattr(page, name, lambda *given, text=text: text)
    return noted


def test_where_a_report_goes(bare: list[dict[str, Any]], tmp_path: Path) -> None:
    one, two = tmp_path / "one" / "a", tmp_path / "two" / "b"
    for _ in range(2):  # into a directory that is there already
        paths = page.build([one])
        assert paths.directory == one / "report"
        assert [path.read_text() for path in (paths.page, paths.markdown, paths.csv)] == ["P", "M", "C"]
    assert [path.name for path in (paths.page, paths.markdown, paths.csv)] == ["index.html", "summary.md", "summary.csv"]
    assert (one / "report" / "figures").is_dir()
    assert page.build([one, two]).directory == tmp_path / "one" / "report-merged"
    assert page.build([one, two], tmp_path / "out").directory == tmp_path / "out"


def test_other_code_is_accepted_only_where_it_is_asked_for(bare: list[dict[str, Any]], tmp_path: Path) -> None:
    calls: list[Callable[..., Any]] = [page.summarise, page.headline_rows, page.build]
    for call in calls:
        for options, accepted in (({}, False), ({"accept_other_code": True}, True)):
            call([tmp_path], **options)
            assert bare.pop() == {"accept_other_code": accepted}


def test_scripts_are_in_a_page_with_one_chart_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[Any] = []
    for name in (
        "flags", "stamps", "standing", "answer", "_facts", "section", "legend", "chart_values", "conditions", "next_commands",
        "tuned_values", "trial_rows", "dashboard_commands", "links", "references", "missing", "environments", "commands",
    ):  # fmt: skip
        monkeypatch.setattr(page, name, lambda *given, **options: [])
    monkeypatch.setattr(page, "rulesets", stand_in(digest=lambda rules: "", in_words=lambda rules: []))
    monkeypatch.setattr(page, "fill", lambda template, **values: noted.append((values["has_charts"], values["many_tasks"])))
    tables: Any = [stand_in(task_text="a"), stand_in(task_text="b")]
    rules = stand_in(stamps=(), name="r", version=1)
    whole: Any = stand_in(ruleset=rules, records=[], directories=())
    chart: Any = "chart"
    for drawn, profile in (([[chart], []], None), ([[], []], chart), ([[], []], None), ([[chart], [chart]], None)):
        page._page(tables, drawn, profile, whole, Path())
    page._page(tables[:1], [[]], None, whole, Path())
    assert noted == [(True, True), (True, True), (False, True), (True, True), (False, False)]


def test_facts_at_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page.rulesets, "short_digest", lambda rules: "abc")

    def told(arms: tuple[int, ...], dates: tuple[str, ...]) -> list[str]:
        tables: Any = [stand_in(rows=range(n), numbers=[0], noun="seed") for n in arms]
        records = [stand_in(started_at=f"{date}T00:00") for date in dates]
        return page._facts(tables, stand_in(records=records, ruleset=stand_in(name="r")))

    assert told((1,), ("2026-01-02",)) == ["1 arm", "seed 0", "1 measured run", "ruleset r abc", "2026-01-02"]
    assert told((2, 3, 2), ("2026-01-03", "2026-01-02", "2026-01-02")) == [
        "3 arms", "seed 0", "3 measured runs", "ruleset r abc", "2026-01-02 to 2026-01-03",
    ]  # fmt: skip
    assert told((2,), ("2026-01-03", "2026-01-02", "2026-01-03"))[-1] == "2026-01-02 to 2026-01-03"


def run(number: int = 0, arm: str = "backprop", **changes: Any) -> Any:
    values = {
        "arm": arm, "algorithm": arm, "variant": "", "control": False, "untrained_control": False, "status": "ok", "study": None,
        "split_seed": 0, "replicate": (0, number), "plan": {}, "started_at": "x", "schema_version": 2, "unequal_search": [],
        "tuning_energy": None, "n_test": 200, "test_accuracy": 0.5, "time_s": 2.0, "correct": None,
    }  # fmt: skip
    return stand_in(**values | changes)


def test_the_arms_and_the_margin_of_a_table() -> None:
    arms = {
        "again": [run(arm="backprop", control=True)], "pepita": [run(arm="pepita", n_test=150)], "backprop": [run()],
        "foton": [run(arm="foton", n_test=None)],
    }  # fmt: skip
    for margin, expected in ((0.001, stats.resolved_margin(0.001, 150)), (0.0, 0.0)):
        whole = stand_in(arms=lambda task: arms, ruleset=stand_in(equivalence_margin=margin), tuned=())
        contest = model._contest(whole, ("d", "n"))
        assert contest.margin == expected
        assert list(contest.arms) == ["backprop", "pepita", "foton", "again"]
    arms = {"backprop": [run(n_test=None)]}
    assert (
        model._contest(stand_in(arms=lambda task: arms, ruleset=stand_in(equivalence_margin=0.25), tuned=()), ("d", "n")).margin
        == 0.25
    )


@pytest.mark.parametrize(
    ("mine", "theirs", "ratio"),
    [
        ((1.0, 3.0), (0.5, 0.75), 8**0.5),
        ((0.0, 3.0), (0.5, 0.75), None),
        ((1.0, 3.0), (0.5, 0.0), None),
        ((-1.0, -1.0), (-1.0, -1.0), None),
    ],
)
def test_a_ratio_needs_values_above_0(mine: tuple[float, ...], theirs: tuple[float, ...], ratio: float | None) -> None:
    quantity: Any = stand_in(pick=lambda each: each.time_s)
    runs = [[run(k, time_s=value) for k, value in enumerate(values)] for values in (mine, theirs)]
    made = model._ratio(*runs, quantity, False)
    assert made is None if ratio is None or made is None else made.mean == pytest.approx(ratio)
    assert (made is None) == (ratio is None)


def test_the_largest_value_and_an_interval_as_text() -> None:
    quantity: Any = stand_in(pick=lambda each: each.time_s)
    assert model._largest([run(0, time_s=2.0), run(1, time_s=7.6)], quantity) == 8
    assert model._largest([run(0, time_s=None)], quantity) is None
    assert model._largest([run(3, split_seed=split, replicate=(split, 3), time_s=9.0 - split) for split in (0, 1)], quantity) == 9
    for low, high, text in ((None, None, "1"), (0.5, None, "1"), (None, 2.0, "1"), (0.5, 2.0, "1 [0.5, 2]")):
        assert model.SeedMean(1.0, low, high, 2).text(lambda value: f"{value:g}") == text


def test_values_of_the_finished_runs_or_none() -> None:
    quantity: Any = stand_in(pick=lambda each: each.time_s)
    lost = run(5, status="failed", time_s=None)
    assert family.values_of([run(1), run(2, time_s=0.0), lost], quantity, False) == {1: 2.0, 2: 0.0}
    assert family.values_of([run(1, split_seed=3, replicate=(3, 1))], quantity, True) == {(3, 1): 2.0}
    for missing in (None, float("nan"), float("inf")):
        assert family.values_of([run(1), run(2, time_s=missing)], quantity, False) == {}
    assert family.lost_words([run(), run(status="failed"), run(status="diverged"), run(status="interrupted")]) == (
        "1 of 4 runs diverged and 1 of 4 runs failed"
    )
    assert family.lost_words([run(), run(status="interrupted")]) == ""


def contest(arms: dict[str, list[Any]], level: float = 0.05, baseline: str = "backprop") -> Contest:
    looks: Any = stand_in(level=level)
    return Contest(task=("d", "n"), arms=arms, baseline=baseline, margin=0.01, unequal_search={}, looks=looks)


def test_the_level_of_all_tables_is_the_least_above_0() -> None:
    assert family._level([contest({}, level) for level in (0.04, 0.0, 0.01, 0.05)]) == 0.01
    assert family._level([contest({}, 0.0)]) == family._level([]) == ALPHA


def test_which_arms_are_compared_with_what() -> None:
    arms = {
        "backprop": [run(), run()],
        "again": [run(control=True), run(control=True)],
        "frozen": [run(arm="frozen", untrained_control=True)],
        "still": [run(arm="still", untrained_control=True)],
        "pepita": [run(arm="pepita")],
    }
    given = contest(arms)
    assert list(family._without_controls(given).arms) == ["backprop", "frozen", "still", "pepita"]
    assert list(family._without_controls(contest(arms, baseline="again")).arms) == list(arms)
    against = family._against(given, "frozen")
    assert (list(against.arms), against.baseline) == (["backprop", "frozen", "pepita"], "frozen")
    assert list(family._only(given, "again").arms) == ["backprop", "again"]


def test_costs_of_0_are_in_no_ratio() -> None:
    for value, known in ((0.5, True), (0.0, False), (-1.0, False)):
        made = family._costs(contest({"backprop": [run(), run(1, time_s=value)]}), family.TIME, 0.1, True)
        assert made.values == {"backprop": {0: 2.0, 1: value} if known else {}}
        assert (made.scale, made.quantity, made.margin, made.claims_allowed) == ("ratio", "time", 0.1, True)
    for quantity, kind in ((family.TIME, "time"), (family.ENERGY, "energy")):
        lost = [run(status="failed", energy=None)]
        made = family._costs(contest({"backprop": lost}), quantity, 0.1, False)
        assert (made.quantity, made.lost) == (kind, {"backprop": "1 of 1 runs failed"})


def test_a_bootstrap_needs_pairs_on_the_same_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    def bits(each: Any) -> Any:
        return np.array(each.correct)

    monkeypatch.setattr(family, "_unpacked", bits)
    monkeypatch.setattr(family, "_bootstrap_of", lambda mine, theirs: (mine, theirs))

    def drawn(mine: dict[int, list[bool]], theirs: dict[int, list[bool]], split: int = 0) -> Any:
        arms = {
            arm: [
                run(k, arm, correct=right, n_test=len(right), test_accuracy=float(np.mean(right)), split_seed=split * k)
                for k, right in of_arm.items()
            ]
            for arm, of_arm in (("pepita", mine), ("backprop", theirs))
        }
        return family._bootstrap(contest(arms), "pepita")

    one, two = [True, False], [True, True]
    assert drawn({1: one, 0: two}, {0: one, 1: one}) == (
        ((0, bytes([1, 1])), (1, bytes([1, 0]))), ((0, bytes([1, 0])), (1, bytes([1, 0]))),
    )  # fmt: skip
    assert drawn({0: one}, {1: one}) is None
    assert drawn({0: one}, {0: [True, False, True]}) is None
    assert drawn({0: one, 1: two}, {0: one, 1: one}, split=1) is None
    assert drawn({}, {0: one}) is None


def test_a_profile_names_the_arms_in_the_order_of_the_first_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bpfree.report.looks.render", lambda spec: "")

    def table(dataset: str, **times: float) -> Any:
        arms = [stand_in(arm=arm, time_s=time_s, joules=time_s if dataset != "two" else None) for arm, time_s in times.items()]
        rows = [stand_in(arm=arm, label=arm.upper(), index=k) for k, arm in enumerate(times)]
        return stand_in(dataset=dataset, task_text=f"{dataset}, net", targets=stand_in(arms=arms), rows=rows)

    one, two, three = table("one", b=1.0, a=2.0, c=3.0), table("two", a=8.0, b=2.0), table("three", a=1.0, b=3.0)
    chart = profiles.profile_chart([one, two])
    assert chart is not None
    assert chart.title == "Performance profiles over 2 data sets"
    assert chart.description == (
        "By time to the target, validation included. Cheapest arm: B on 100 %; A on 0 %. Data sets on which the target was "
        "reached at all: B 100 %; A 100 %. Higher and further to the left is better. "
        "Left out, since they were not run everywhere: C."
    )
    energy = profiles.profile_chart([one, three])
    assert energy is not None
    assert energy.description.startswith("By energy to the target")
    never = float("inf")
    assert profiles.profile_chart([one, table("two", a=never, b=never)]) is None
    assert profiles.profile_chart([one, table("two", a=never, b=2.0)]) is not None
    assert profiles.profile_chart([one, table("two", b=2.0)]) is None
    assert profiles.profile_chart([one, table("one", a=1.0, b=2.0)]) is None


def test_a_row_of_tuned_json_of_an_earlier_version_is_of_split_0() -> None:
    entry = {"arm": "a", "dataset": "d", "net": "n", "study": 3}
    assert material._searched_for(entry) == ("a", "d", "n", 3, 0)
    assert material._searched_for(entry | {"split_seed": 2}) == ("a", "d", "n", 3, 2)


def test_the_first_of_several_run_directories_is_named(tmp_path: Path) -> None:
    for name in "bca":
        (tmp_path / name).mkdir()
        (tmp_path / name / "records.jsonl").touch()
    with pytest.raises(material.RunDirectoryError, match=f"report on one: bpfree report {tmp_path / 'a'}$"):
        material.read_material([tmp_path])


def test_a_run_without_a_time_was_not_out_of_time(runs: Any) -> None:
    rules = RULES.with_changes(max_hours=0.0001)  # 0.36 s
    assert stopping_flaw(audited(runs, [0.5, 0.6], time_s=0.4), rules) == ""
    assert stopping_flaw(audited(runs, [0.5, 0.6]).model_copy(update={"time_s": None}), rules) != ""
