"""``benchmarks/answer.py`` where something goes wrong: kills, failures, missing sources, the end of the time, bad input."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from answer_kit_runs import COSTS, answer, run

from benchmarks.answer_kit import command, context, costs, worker
from bpfree.meter import Detection
from bpfree.meter.timeline import HostProbe


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where altair is not installed; it also saves the time of drawing."""
    monkeypatch.setitem(sys.modules, "benchmarks.answer_kit.figures", None)


def test_a_call_that_is_killed_is_gone_on_with(kit_ruleset: str, kit: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Killed between two sections, and within the costs: what is whole stays as it is."""
    sizes = (*COSTS, "--batch-sizes", "16,32", "--arms", "backprop,frozen", "--sections", "doctor,costs")
    measured: list[tuple[int, str]] = []

    def then_killed(arm: Any, *words: Any, **options: Any) -> Any:
        if len(measured) == 3:
            raise KeyboardInterrupt
        measured.append((options["batch_size"], arm.label))
        return costs_window(arm, *words, **options)

    costs_window = costs.cost_window
    with kit.context() as patch:
        patch.setattr(costs, "cost_window", then_killed)
        assert run(tmp_path, kit_ruleset, *sizes) == command.INTERRUPTED
    cut = answer(tmp_path)["sections"]
    assert (cut["doctor"]["status"], cut["costs"]["status"]) == ("done", "partial")
    assert measured == [(16, "backprop"), (16, "frozen"), (32, "backprop")]
    assert [group["complete"] for group in cut["costs"]["data"]["groups"]] == [True, False]
    assert run(tmp_path, kit_ruleset, *sizes) == 0
    then = answer(tmp_path)["sections"]
    assert then["doctor"] == cut["doctor"]
    assert then["costs"]["data"]["groups"][0] == cut["costs"]["data"]["groups"][0]
    assert all(group["complete"] for group in then["costs"]["data"]["groups"])
    assert [call["status"] for call in then["costs"]["calls"]] == ["partial", "done"]


def test_a_section_that_fails_is_recorded_and_the_next_is_run(kit_ruleset: str, kit: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError(f"no such thing in {tmp_path}\nmore")

    with kit.context() as patch:
        patch.setitem(worker.RUNS, "doctor", failing)
        assert run(tmp_path, kit_ruleset, *COSTS, "--sections", "doctor,clocks") == 1
    sections = answer(tmp_path)["sections"]
    assert sections["doctor"]["status"] == "failed"
    assert sections["doctor"]["reason"] == "RuntimeError: no such thing in OUT"
    assert sections["clocks"]["status"] == "done"
    assert "no such thing in OUT" in (tmp_path / "answer.md").read_text()
    assert run(tmp_path, kit_ruleset, *COSTS, "--sections", "doctor,clocks") == 0
    assert answer(tmp_path)["sections"]["doctor"]["status"] == "done"


def test_an_arm_that_fails_leaves_the_others_their_costs(kit_ruleset: str, kit: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def out_of_memory(arm: Any, *words: Any, **options: Any) -> Any:
        if arm.label == "frozen":
            raise RuntimeError("CUDA out of memory. Tried to allocate 1 TiB")
        return costs_window(arm, *words, **options)

    costs_window = costs.cost_window
    with kit.context() as patch:
        patch.setattr(costs, "cost_window", out_of_memory)
        assert run(tmp_path, kit_ruleset, *COSTS, "--arms", "backprop,frozen", "--sections", "costs") == 0
    backprop, frozen = answer(tmp_path)["sections"]["costs"]["data"]["summary"][:2]
    assert backprop["call_j_ratio"] == 1
    assert frozen["call_j"] is None and frozen["call_j_ratio"] is None
    assert "out of memory" in frozen["reasons"]["call_j"]


def test_where_git_does_not_say_the_commit_is_given_or_null_with_the_reason(
    kit_ruleset: str, kit: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_git(*_: object) -> str:
        raise FileNotFoundError("git")

    with kit.context() as patch:
        patch.setattr(context, "_git", no_git)
        for given, commit in (((), None), (("--commit", "abc123"), "abc123")):
            assert run(tmp_path, kit_ruleset, "--sections", "doctor", *given) == 0
            about = answer(tmp_path)["about"]
            assert (about["commit"], about["changed_since_commit"]) == (commit, None)
            assert ("commit" in about["reasons"]) == (commit is None)
            assert "FileNotFoundError" in about["reasons"]["changed_since_commit"]


def nulls_and_zeros(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Paths and values of everything that is null, or 0."""
    if isinstance(value, dict | list):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from nulls_and_zeros(entry, f"{path}.{key}")
    elif value is None or (isinstance(value, float) and value == 0):
        yield path, value


def test_without_a_source_times_are_there_and_joules_are_null_with_the_reason(
    kit_ruleset: str, kit: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with kit.context() as patch:
        patch.setattr(context, "detect", lambda _: Detection((), (), HostProbe()))
        assert run(tmp_path, kit_ruleset, *COSTS, "--arms", "backprop,frozen") == 0
    sections = answer(tmp_path)["sections"]
    costs_data = sections["costs"]["data"]
    for window in (window for group in costs_data["groups"] for window in group["windows"]):
        assert window["call_s"] > 0
        assert window["joules"] is window["call_j"] is window["net_step_j"] is None
        assert "no energy source" in window["reasons"]["energy.joules"]
    for row in costs_data["summary"]:
        assert row["call_s_ratio"] > 0
        assert "no energy source" in row["reasons"]["call_j"]
    for run_ in sections["experiment"]["data"]["runs"]:
        assert run_["joules"] is None and "no energy source" in run_["reasons"]["energy.joules"]
    of_energy = [(path, value) for path, value in nulls_and_zeros(sections) if "joules" in path or path.endswith(("_j", "_w"))]
    assert of_energy and all(value is None for _, value in of_energy)
    assert "no energy source" in (tmp_path / "answer.md").read_text()


def test_the_time_is_kept_and_what_was_cut_is_made_by_the_next_call(
    kit_ruleset: str, kit: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Rounds and seeds for hours, in 6 s: on a busy machine a run begins within half of them."""
    endless = (*COSTS, "--rounds", "1000", "--seeds", "1000")
    begin_s = time.monotonic()
    with kit.context() as patch:
        patch.setattr(costs, "_BETWEEN_S", 0.1)
        assert run(tmp_path, kit_ruleset, *endless, minutes="0.1") == 0
    assert time.monotonic() - begin_s < 6.0 + 1.0
    sections = answer(tmp_path)["sections"]
    assert {sections[name]["status"] for name in ("costs", "experiment")} == {"partial"}
    assert "were left" in sections["costs"]["reason"] or "used up" in sections["costs"]["reason"]
    data = sections["experiment"]["data"]
    assert data["runs"]
    assert {run_["status"] for run_ in data["runs"]} <= {"ok", "interrupted"}
    assert data["summary"][0]["runs"] == sum(run_["status"] == "ok" and run_["arm"] == "backprop" for run_ in data["runs"])
    assert run(tmp_path, kit_ruleset, *endless, "--sections", "experiment", minutes="0.05") == 0
    later = answer(tmp_path)["sections"]["experiment"]["data"]
    finished = [run_ for run_ in data["runs"] if run_["status"] == "ok"]
    assert all(run_ in later["runs"] for run_ in finished)
    assert len(later["runs"]) > len(finished)


def test_a_section_in_a_call_without_end_is_cut_and_the_next_has_its_time(
    kit_ruleset: str, kit: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A pass may take longer than the section has, as on a slow device."""

    def endless(*_: Any, **__: Any) -> None:
        time.sleep(60)

    with kit.context() as patch:
        patch.setattr(costs, "cost_window", endless)
        patch.setattr(costs, "_BETWEEN_S", 0.01)
        assert run(tmp_path, kit_ruleset, *COSTS, "--sections", "costs,experiment", minutes="0.06") == 0
    sections = answer(tmp_path)["sections"]
    assert sections["costs"]["status"] == "partial"
    assert sections["experiment"]["data"]["runs"]
    assert "the time was used up" in sections["costs"]["reason"]
    assert sections["costs"]["calls"][0]["used_s"] < sections["costs"]["calls"][0]["given_s"] + 1.0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--max-minutes", "0"], "--max-minutes must be a number above 0, got 0"),
        (["--max-minutes", "-1"], "got -1"),
        (["--max-minutes", "nan"], "got nan"),
        (["--max-minutes", "soon"], "invalid float value: 'soon'"),
        (["--window-s", "0"], "--window-s must be a number above 0"),
        (["--rounds", "0"], "--rounds must be at least 1, got 0"),
        (["--batch-sizes", "128,x"], "--batch-sizes must be whole numbers"),
        (["--sections", "costs,clock"], "unknown section 'clock'; choose from doctor"),
        (["--in-process", "--arms", "backprop,nothing"], "nothing"),
        (["--in-process", "--ruleset", "nowhere.yaml"], "nowhere.yaml"),
        (["--in-process", "--data-dir", "{}"], "cifar10 is not in"),
        (["--in-process", "--device", "cuda:77"], "--device cuda:77 was asked, but"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("BPFREE_DATA", raising=False)
    (tmp_path / "data").mkdir()
    words = [word.format(tmp_path / "data") for word in words]
    assert command.main(["--device", "cpu", *words, "--out", str(tmp_path / "answer")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("answer.py: ")
    assert says in line
    assert not (tmp_path / "answer").exists()
