"""``benchmarks/answer.py`` from end to end: on the processor, the meter reading a simulated board."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
from answer_kit_runs import COSTS, IDLE_W, LOAD_W, answer, run
from nvml_simulation import UUID_A

from benchmarks.answer_kit import worker
from benchmarks.answer_kit.options import RULESET
from bpfree import report
from bpfree.records import read_records


@pytest.fixture(scope="module")
def whole(kit: pytest.MonkeyPatch, kit_ruleset: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete answer."""
    out, reported = tmp_path_factory.mktemp("kit") / "answer", []
    with kit.context() as patch:
        patch.setattr(report, "build", reported.append)  # it has tests of its own, and takes seconds
        assert run(out, kit_ruleset, *COSTS) == 0
    assert reported == [[out / answer(out)["sections"]["experiment"]["data"]["directory"]]]
    return out


def test_every_section_is_there_and_in_its_time(whole: Path) -> None:
    told = answer(whole)
    status = {name: section["status"] for name, section in told["sections"].items()}
    assert status == dict.fromkeys(("doctor", "costs", "experiment", "clocks"), "done") | {"tests": "skipped"}
    for section in told["sections"].values():
        for call in section["calls"]:
            assert 0 < call["used_s"] < call["given_s"] + 1.0
    about = told["about"]
    assert about["dataset"] == "synthetic:n=300:inputs=12:classes=3:hidden=32:seed=0"
    assert about["torch"] and about["bpfree"] and about["date"]
    assert about["commit"] is not None or about["reasons"]["commit"]


def test_the_doctor_saw_idle_and_load(whole: Path) -> None:
    data = answer(whole)["sections"]["doctor"]["data"]
    checks = {check["name"]: check for check in data["checks"]}
    name = f"nvml-counter:GPU-{UUID_A[:8]}"
    assert data["idle_w"][name] == pytest.approx(IDLE_W, rel=0.1)
    assert checks[f"power:{name}"]["value"] == pytest.approx(LOAD_W, rel=0.1)


def test_joules_of_a_step_are_those_of_the_window_over_its_steps(whole: Path) -> None:
    told = answer(whole)
    groups = told["sections"]["costs"]["data"]["groups"]
    assert [(group["kind"], group["batch_size"]) for group in groups] == [("pass", 32), ("step", 32)]
    assert all(group["complete"] for group in groups)
    n_steps = math.ceil(told["about"]["examples"]["train"] / 32)
    for group in groups:
        assert [(w["arm"], w["phase_index"]) for w in group["windows"]] == [
            ("backprop", 0), ("mono-forward", 0), ("mono-forward:schedule=staged", 0), ("mono-forward:schedule=staged", 1),
            ("forward-forward", 0), ("frozen", 0), ("blockwise:reach=2", 0),
        ]  # fmt: skip
        for window in group["windows"]:
            assert window["window_s"] >= 0.1
            assert window["resolved"]
            assert window["n_steps"] == window["n_calls"] * (n_steps if group["kind"] == "pass" else 1)
            assert window["joules"] == pytest.approx(LOAD_W * window["window_s"], rel=0.1)
            assert window["net_joules"] == pytest.approx((LOAD_W - IDLE_W) * window["window_s"], rel=0.15)
            assert window["call_j"] == pytest.approx(window["joules"] / window["n_calls"])
            assert window["step_j"] == pytest.approx(window["joules"] / window["n_steps"])
            assert window["net_step_j"] == pytest.approx(window["net_joules"] / window["n_steps"])
            assert window["step_s"] == pytest.approx(window["window_s"] / window["n_steps"])
            assert window["allocator_bytes"] is None and window["reasons"]["allocator_bytes"]


def test_the_summary_is_made_of_the_windows(whole: Path) -> None:
    data = answer(whole)["sections"]["costs"]["data"]
    rows = {(row["kind"], row["arm"]): row for row in data["summary"]}
    for group in data["groups"]:
        first, joint, *staged, _, _, _ = group["windows"]
        assert rows[group["kind"], "mono-forward"]["call_j_ratio"] == pytest.approx(joint["call_j"] / first["call_j"])
        row = rows[group["kind"], staged[0]["arm"]]
        mean_j = (staged[0]["call_j"] + staged[1]["call_j"]) / 2
        assert row["call_j"] == pytest.approx(mean_j)
        assert row["call_j_ratio"] == pytest.approx(mean_j / first["call_j"])
        assert rows[group["kind"], "backprop"]["net_call_j_ratio"] == 1


def test_the_experiment_has_its_records_and_pairs(whole: Path) -> None:
    data = answer(whole)["sections"]["experiment"]["data"]
    records = read_records(whole / data["directory"] / "records.jsonl")
    assert [(run["arm"], run["seed"], run["joules"]) for run in data["runs"]] == [
        (record.arm, record.seed, record.energy.joules) for record in records
    ]
    assert {record.plan["command"] for record in records} == {answer(whole)["about"]["command"]}
    backprop, staged = data["summary"]
    pairs = {record.seed: [r for r in records if r.seed == record.seed] for record in records}
    ratios = [
        next(r.energy.joules for r in pair if "mono" in r.arm) / next(r.energy.joules for r in pair if r.arm == "backprop")
        for pair in pairs.values()
    ]
    assert (backprop["pairs"], staged["pairs"], backprop["joules_ratio"]) == (2, 2, 1)
    assert staged["joules_ratio"] == pytest.approx(sum(ratios) / 2)


def test_clocks_of_both_arms_are_there_in_turns(whole: Path) -> None:
    windows = answer(whole)["sections"]["clocks"]["data"]["windows"]
    assert [(w["turn"], w["arm"]) for w in windows] == [(turn, arm) for turn in (0, 1) for arm in ("backprop", "forward-forward")]
    for window in windows:
        assert window["device"]["clock_mhz"]["mean"] == 1410
        assert window["mean_w"] == pytest.approx(LOAD_W, rel=0.1)
        header, *samples = (whole / window["trace"]).read_text().splitlines()
        assert json.loads(header)["arm"] == window["arm"]
        assert len(samples) == window["n_samples"]


def test_page_and_figures_and_nothing_of_this_machine(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    page = (whole / "answer.md").read_text()
    assert "**A pass, batch 32**" in page
    assert "×1.00" in page
    assert {path.name for path in (whole / "figures").iterdir()} == {
        "clocks-clock.svg", "clocks-power.svg", "costs-energy.svg", "costs-time.svg",
    }  # fmt: skip
    for path in whole.rglob("*"):
        if path.is_file():
            assert path.stat().st_size < 16 * 2**20
            text = path.read_text()
            assert str(tmp_path_factory.getbasetemp()) not in text
            assert str(RULESET.parents[2]) not in text


def test_the_same_command_repeats_nothing(whole: Path, kit_ruleset: str, kit: pytest.MonkeyPatch) -> None:
    before = answer(whole)["sections"]
    with kit.context() as patch:
        patch.setitem(sys.modules, "benchmarks.answer_kit.figures", None)
        for name in worker.RUNS:
            patch.setitem(worker.RUNS, name, lambda *_: pytest.fail("it was done"))
        assert run(whole, kit_ruleset, *COSTS) == 0
    assert answer(whole)["sections"] == before


def test_other_windows_are_other_costs_and_nothing_else(whole: Path, kit_ruleset: str, kit: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    with kit.context() as patch:
        patch.setitem(sys.modules, "benchmarks.answer_kit.figures", None)
        for name in worker.RUNS:
            patch.setitem(worker.RUNS, name, lambda _c, section, _s: ran.append(section.name))
        section = json.loads((whole / "sections" / "costs.json").read_text())
        assert run(whole, kit_ruleset, *COSTS, "--rounds", "2") == 0
    assert ran == ["costs"]
    (aside,) = (whole / "earlier").iterdir()
    assert json.loads(aside.read_text()) == section
