"""Parts of the GPU kit by themselves: how the time is shared, how ratios are made, how the GPU tests are run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.answer_kit import budget, command, costs, gpu_tests
from benchmarks.answer_kit.options import SECTIONS, parse
from benchmarks.answer_kit.store import Store


def test_shares_of_25_minutes() -> None:
    plan = budget.plan(1000.0, 1500.0, SECTIONS)
    assert plan.end_s == 2500.0
    assert plan.tests_until_s == 2480.0
    assert plan.worker_until_s == pytest.approx(2480.0 - 0.10 * 1480.0)
    assert plan.left_out == {}
    names = ["doctor", "costs", "experiment", "clocks"]
    left_s = plan.worker_until_s - 1000.0
    assert budget.given_s("doctor", names, left_s) == pytest.approx(0.06 * 1480.0)
    assert budget.given_s("clocks", names[3:], 300.0) == 300.0  # what the others left


def test_tests_are_left_to_a_longer_call_and_their_share_to_the_others() -> None:
    plan = budget.plan(0.0, 540.0, SECTIONS)
    assert plan.worker_until_s == plan.tests_until_s == 520.0
    assert "52 s" in plan.left_out["tests"]
    assert budget.plan(0.0, 540.0, ("tests",)).left_out == {}


def test_the_command_that_is_shown_measures_the_same_and_names_no_folder() -> None:
    assert parse([], None).shown() == "python benchmarks/answer.py --device cuda --max-minutes 25"
    assert parse(["--data-dir", "/data", "--sections", "costs"], None).shown() == (
        "python benchmarks/answer.py --device cuda --max-minutes 25 --data-dir DIR"
    )
    files = ["--ruleset", "/home/me/tiny.yaml", "--dataset", "/home/me/mine.npz"]
    rest = "--net mlp:2x16 --arms backprop,frozen --batch-sizes 32 --window-s 0.5 --rounds 1 --seeds 2"
    shown = parse([*files, *rest.split()], None).shown()
    assert shown.endswith(f"--max-minutes 25 --ruleset tiny.yaml --dataset mine.npz {rest}")


def windows(arm: str, *phases: tuple[float, float | None]) -> list[dict[str, Any]]:
    """Windows of one call of so many seconds and joules."""
    return [
        {"arm": arm, "n_phases": len(phases), "call_s": s, "call_j": j, "net_call_j": j, "step_s": s / 10, "net_step_j": j,
         "step_j": None if j is None else j / 10, "reasons": {} if j else {"energy.joules": "it broke"}}
        for s, j in phases
    ]  # fmt: skip


def test_ratios_are_of_one_turn_and_the_mean_over_phases() -> None:
    turns = [
        [*windows("backprop", (2.0, 100.0)), *windows("staged", (1.0, 40.0), (3.0, 20.0))],
        [*windows("backprop", (4.0, 200.0)), *windows("staged", (8.0, 100.0), (8.0, 100.0))],
    ]
    groups = [{"kind": "pass", "batch_size": 8, "windows": turn} for turn in turns]
    backprop, staged = costs.summary(groups, "backprop")
    assert (backprop["call_s"], backprop["call_s_ratio"]) == (3.0, 1.0)
    assert (staged["rounds"], staged["call_s"], staged["call_j"]) == (2, 5.0, 65.0)
    assert (staged["call_s_ratio"], staged["call_j_ratio"]) == (1.5, 0.4)
    assert (staged["step_j"], staged["reasons"]) == (6.5, {})


def test_a_phase_that_is_missing_or_without_joules_gives_no_mean() -> None:
    half = windows("staged", (1.0, 40.0), (3.0, None))
    group = {"kind": "step", "batch_size": 8, "windows": [*windows("backprop", (2.0, 9.0)), *half]}
    (_, dark) = costs.summary([group], "backprop")
    assert (dark["call_s_ratio"], dark["call_j"], dark["call_j_ratio"]) == (1.0, None, None)
    assert dark["reasons"]["call_j"] == "it broke"
    (_, cut) = costs.summary([group | {"windows": group["windows"][:2]}], "backprop")
    assert (cut["call_s"], cut["rounds"]) == (None, 0)
    assert cut["reasons"]["call_s"] == "not every phase was measured"


def test_outcomes_of_tests_are_read(tmp_path: Path) -> None:
    file = tmp_path / "test_some.py"
    file.write_text(
        "import pytest\n@pytest.mark.gpu\ndef test_a(): pass\n@pytest.mark.gpu\ndef test_b(): assert 1 == 2\n"
        "@pytest.mark.gpu\n@pytest.mark.skipif(True, reason='no board')\ndef test_c(): pass\ndef test_d(): assert False\n"
    )
    data, reason = gpu_tests.run_tests([file], 60.0)
    assert reason is None
    assert (data["passed"], data["failed"], data["skipped"]) == (1, 1, 1)
    assert [test["outcome"] for test in data["tests"]] == ["passed", "failed", "skipped"]
    assert "no board" in data["tests"][2]["why"]
    assert data["time_s"] > 0


def test_tests_that_do_not_end_are_ended(tmp_path: Path) -> None:
    file = tmp_path / "test_slow.py"
    file.write_text("import time\ntime.sleep(60)\n")
    begin_s = time.monotonic()
    assert gpu_tests.run_tests([file], 0.5) == ({}, "they did not end within 0 s")
    assert time.monotonic() - begin_s < 10


@pytest.mark.parametrize(
    ("came", "status", "reason"),
    [
        (({"passed": 3, "failed": 0, "skipped": 0}, None), "done", None),
        (({"passed": 2, "failed": 1, "skipped": 0}, None), "failed", "tests failed"),
        (({}, "they did not end within 9 s"), "partial", "they did not end within 9 s"),
        (ValueError("odd"), "failed", "ValueError: odd"),
    ],
)
def test_what_came_of_the_gpu_tests_is_recorded(
    came: Any, status: str, reason: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_tests(_paths: list[Path], limit_s: float) -> Any:
        assert 100.0 < limit_s <= 120.0
        if isinstance(came, Exception):
            raise came
        return came

    monkeypatch.setattr(gpu_tests, "run_tests", run_tests)
    store, start_s = Store(tmp_path), time.monotonic()
    options = parse(["--device", "cuda", "--out", str(tmp_path)], None)
    command._tests(options, store, budget.plan(start_s, 140.0, ("tests",)))
    section = store.read("tests")
    assert (section["status"], section["reason"]) == (status, reason)
    assert section["calls"][0]["given_s"] == pytest.approx(120.0, abs=5.0)
    first = section["calls"][0]
    command._retried(store, ("tests",))
    command._tests(options, store, budget.plan(start_s, 60.0, ("tests",)))
    then = store.read("tests")
    assert then["status"] == ("done" if status == "done" else "skipped")
    assert then["calls"] == [first]  # how that call ended stays as it was


def test_the_files_with_gpu_tests_are_found() -> None:
    names = [path.name for path in gpu_tests.files_with_gpu_tests()]
    assert {"test_meter_gpu.py", "test_dataset.py"} <= set(names)


def test_folders_are_hidden_and_words_that_begin_alike_are_not() -> None:
    store = Store(Path("/runs/out"), {"/data": "DIR"})
    assert store.clean("/runs/out/a /runs/outer /data/cifar '/data' https://some/database") == (
        "OUT/a /runs/outer DIR/cifar 'DIR' https://some/database"
    )
