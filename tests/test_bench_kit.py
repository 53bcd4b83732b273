"""``make bench``: its ratios, what it calls slower, and its part of the page, each by value."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from bpfree.numerics.layout import is_by_pixels


@pytest.fixture(autouse=True)
def _kit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))


def ratios(least: float, noise: float = 0.0, least_s: float = 0.002) -> dict[str, float]:
    return {"least_s": least_s, "least_ratio": least, "median_ratio": least + 0.1, "noise": noise}


def row(arm: str, tier: str = "eager", **step: float) -> dict[str, Any]:
    kinds = {"step": ratios(**step), "pass": ratios(0.5), "evaluation": ratios(2.0)}
    return {
        "arm": arm,
        "tier": tier,
        "peak_bytes": 3 * 2**20,
        "peak_ratio": 0.75,
        "multiply_adds": 2_345_678,
        "multiply_adds_ratio": 0.875,
        "multiply_adds_of_evaluation": 6_543_210,
        "multiply_adds_of_evaluation_ratio": 8.125,
        "compile_s": None,
        "pass_by_steps": 1.04,
    } | kinds


FOUND: dict[str, Any] = {
    "measured_at": "2026-01-02T03:04:05+00:00",
    "environment": {"processor": "P", "torch_threads": 1, "versions": {"torch": "2.9"}},
    "windows": 7,
    "load": [0.25, 1.5],
    "cases": [
        {
            "case": "mlp:2x8, batch 4",
            "rows": [
                row("torch", least=1.0),
                row("mono-forward", least=0.8),
                row("mono-forward", "compiled", least=0.7, least_s=0.0015),
            ],
            "refused": {"foton, compiled": "it | cannot"},
        }
    ],
    "programs": [{"program": "import torch", "least_s": 2.0, "median_s": 2.5, "ratio": 1.0, "noise": 0.0}],
}


def test_a_ratio_is_mine_over_torchs() -> None:
    from bench_kit.measuring import noise, summary

    made = summary([3.0, 4.0, 8.0], [4.0, 2.0, 2.0])
    assert made == {"least_s": 3.0, "median_s": 4.0, "least_ratio": 1.5, "median_ratio": 2.0, "noise": 0.0}  # .75, 2, 4
    assert noise([1.0, 2.0, 3.0, 4.0]) == pytest.approx((3.75 - 1.25) / 2 / 2.5)


def test_what_grew_by_more_than_the_noise_is_named() -> None:
    from bench_kit.comparing import slower

    def with_step(least: float, noise: float = 0.0) -> dict[str, Any]:
        now = copy.deepcopy(FOUND)
        now["cases"][0]["rows"][1]["step"] = ratios(least, noise)
        return now

    assert slower(FOUND, FOUND) == []
    assert slower(FOUND, with_step(0.5)) == []  # faster
    assert slower(FOUND, with_step(0.83)) == []  # below five per cent
    assert slower(FOUND, with_step(0.9)) == [
        "mlp:2x8, batch 4: step of mono-forward (eager): 0.90 of torch's, was 0.80 (noise 5%)"
    ]
    assert slower(FOUND, with_step(0.9, noise=0.1)) == []  # twice .1
    assert len(slower(FOUND, with_step(1.0, noise=0.1))) == 1


def test_a_program_that_starts_later_is_named_and_what_is_new_is_not() -> None:
    from bench_kit.comparing import slower

    now = copy.deepcopy(FOUND)
    now["programs"][0]["ratio"] = 1.5
    now["cases"][0]["case"] = "another"
    assert slower(FOUND, now) == ["import torch: 1.50 of the import of torch, was 1.00 (noise 5%)"]


def test_a_step_that_holds_more_memory_is_named() -> None:
    from bench_kit.comparing import slower

    now = copy.deepcopy(FOUND)
    now["cases"][0]["rows"][1]["peak_ratio"] = 0.78
    assert slower(FOUND, now) == []  # below five per cent
    now["cases"][0]["rows"][1]["peak_ratio"] = 0.9
    assert slower(FOUND, now) == ["mlp:2x8, batch 4: live bytes of a step of mono-forward: 0.90 of torch's, was 0.75 (noise 5%)"]
    now["cases"][0]["rows"][1]["peak_ratio"] = None
    assert slower(FOUND, now) == []


def test_what_cannot_be_compared_is_named() -> None:
    from bench_kit.comparing import not_comparable

    kind = {"processor_kind": "K", "instruction_set": "AVX2"}
    committed, now = copy.deepcopy(FOUND), copy.deepcopy(FOUND)
    committed["environment"] |= kind
    now["environment"] |= kind
    assert not_comparable(committed, now) == []  # refused then and now
    now["environment"]["instruction_set"] = "AVX512"
    now["kit"] = "another"
    now["cases"][0]["refused"] = {"mono-forward, compiled": "no compiler", "never, eager": "unknown"}
    del now["cases"][0]["rows"][2]
    assert not_comparable(committed, now) == [
        "the committed figures are of another kind of processor (K with AVX2; here K with AVX512): ratios differ between kinds",
        "the committed figures were measured by another version of this benchmark",
        "mlp:2x8, batch 4: mono-forward, compiled was measured and is refused now: no compiler",
    ]


@pytest.mark.parametrize(("inputs", "batch_size"), [("64", 64), ("3x32x32", 128), ("784", 128), ("6", 97)])
def test_a_pass_is_a_whole_number_of_steps(inputs: str, batch_size: int) -> None:
    from bench_kit.measuring import in_whole_batches

    n = in_whole_batches(inputs, batch_size, 6 * batch_size).n("train")
    assert n % batch_size == 0
    assert 4 * batch_size <= n <= 6 * batch_size


def test_the_main_job_is_run_several_times(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench_kit import measuring

    ran: list[str] = []
    clock = iter(range(1000))

    def run(arguments: list[str], **_: object) -> None:
        ran.append(arguments[-1])
        for _ in range(2 * (arguments[-1] == "--quiet") * (ran.count("--quiet") - 1) % 3):
            next(clock)  # the main job takes one, three, two and one seconds

    monkeypatch.setattr(measuring.subprocess, "run", run)
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: next(clock))
    first, job = measuring.measured_programs(5, lambda _: None, ["import torch", "bpfree compare"])
    assert (ran.count("import torch"), ran.count("--quiet")) == (5, 4)
    assert (first["least_s"], job["least_s"], job["median_s"], job["ratio"]) == (1, 1, 1.5, 1)
    assert job["noise"] == pytest.approx((2.75 - 1) / 2 / 1.5)


def test_the_committed_page_is_that_of_the_committed_figures() -> None:
    import json

    from bench_kit.page import BEGIN, DOCS, END, part

    import bench

    text = (DOCS / "performance.md").read_text(encoding="utf-8")
    made = text.partition(BEGIN)[2].partition(END)[0]
    assert made.strip() == part(json.loads(bench.RESULTS.read_text(encoding="utf-8"))).strip(), (
        "python benchmarks/bench.py --page"
    )


def test_the_part_of_the_page() -> None:
    from bench_kit.page import part

    lines = part(FOUND).splitlines()
    words = " ".join(lines[1 : lines.index("", 1)])
    assert words.startswith("2026-01-02, P, 1 thread, torch 2.9; load 0.2 before and 1.5 after; 7 windows of each in turns.")
    table = [line for line in lines if line.startswith("| mlp")]
    same = "0.88 | 0.50 (0.60) | 2.00 (2.10) | 8.12 | 1.04 | 0.75 | – |"
    assert table == [
        "| mlp:2x8, batch 4 | torch | eager | 2 ms | – | 2 M | 2 ms | 2 ms | 7 M | 1.04 | 3 MiB | – |",
        f"| mlp:2x8, batch 4 | mono-forward | eager | 0.80 (0.90) | – | {same}",
        f"| mlp:2x8, batch 4 | mono-forward | compiled | 0.70 (0.80) | 0.75 | {same}",
        "| mlp:2x8, batch 4 | foton, compiled | | | | | | | | | | it / cannot |",
    ]
    assert lines[-2:] == ["| `import torch` | 2 s | 2.5 s | 1.00 |", ""]


def test_each_arm_in_its_best_tier() -> None:
    """Least seconds: backprop 4 ms compiled, Mono-Forward 3 ms eager; what was not timed has a dash."""
    from bench_kit.page import part

    rows = [
        row("torch", least=1.0, least_s=0.001),
        row("backprop", least=1.0, least_s=0.005), row("backprop", "compiled", least=1.0, least_s=0.004),
        row("mono-forward", least=1.0, least_s=0.003), row("mono-forward", "compiled", least=1.0, least_s=0.0035),
    ]  # fmt: skip
    other = {
        "case": "cnn3, batch 4",
        "rows": [
            row("backprop", least=1.0),
            row("pepita", least=1.0),
            row("frozen", least=1.0, least_s=0.001),
            row("frozen", "compiled", least=1.0),
        ],
        "refused": {},
    }
    lines = part(FOUND | {"cases": [FOUND["cases"][0] | {"rows": rows}, other]}).splitlines()
    head = lines.index("| net, batch | backprop in | mono-forward | frozen |")
    assert lines[head + 2 : head + 4] == [
        "| mlp:2x8, batch 4 | compiled | 0.75 (eager) | – |",
        "| cnn3, batch 4 | eager | – | 0.50 (eager) |",
    ]
    assert "best tier" not in part(FOUND), "without backprop there is nothing to divide by"


def test_what_was_not_measured_has_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps alone were timed; or the results are from before multiply-adds were counted."""
    from bench_kit import page
    from bench_kit.comparing import slower
    from bench_kit.page import part

    steps = copy.deepcopy(FOUND)
    for each in steps["cases"][0]["rows"]:
        for key in [key for key in each if key in ("pass", "evaluation") or key.startswith("multiply_adds")]:
            del each[key]
        each["pass_by_steps"] = None
    table = [line for line in part(steps).splitlines() if line.startswith("| mlp")]
    assert table[1] == "| mlp:2x8, batch 4 | mono-forward | eager | 0.80 (0.90) | – | – | – | – | – | – | 0.75 | – |"
    assert slower(FOUND, steps) == slower(steps, FOUND) == []
    passes = copy.deepcopy(FOUND)
    del passes["cases"][0]["rows"][2]["step"]
    drawn: list[dict[str, Any]] = []
    monkeypatch.setattr(
        page, "render", lambda spec: drawn.append(spec) or '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>'
    )
    page.figure(passes)
    assert [row["tier"] for row in drawn[0]["datasets"]["rows"]] == ["eager"]


def test_the_figure_has_a_panel_for_each_net_and_a_point_for_each_rule_and_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    import altair as alt
    from bench_kit import page

    two = FOUND | {"cases": [*FOUND["cases"], FOUND["cases"][0] | {"case": "cnn3, batch 4"}]}
    drawn: list[dict[str, Any]] = []

    def kept(spec: dict[str, Any]) -> str:
        drawn.append(spec)
        return '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"/>'

    monkeypatch.setattr(page, "render", kept)
    assert "Seconds of a training step" in page.figure(two)
    (spec,) = drawn
    alt.VConcatChart.from_dict({key: value for key, value in spec.items() if key != "config"})  # it is of Vega-Lite's form
    assert [panel["title"] for line in spec["vconcat"] for panel in line["hconcat"]] == ["mlp:2x8, batch 4", "cnn3, batch 4"]
    assert [tuple(row.values()) for row in spec["datasets"]["rows"]] == [
        ("mlp:2x8, batch 4", "mono-forward", "eager", 0.8), ("mlp:2x8, batch 4", "mono-forward", "compiled", 0.7),
        ("cnn3, batch 4", "mono-forward", "eager", 0.8), ("cnn3, batch 4", "mono-forward", "compiled", 0.7),
    ]  # fmt: skip


def test_the_page_has_the_place_of_the_part() -> None:
    from bench_kit.page import BEGIN, DOCS, END

    before, _, after = (DOCS / "performance.md").read_text(encoding="utf-8").partition(BEGIN)
    assert before
    assert END in after


def test_a_case_is_measured_whole() -> None:
    from bench_kit.measuring import Case, measured_case

    found = measured_case(Case("mlp:1x4", "6", 32, 2), ["backprop", "forward-forward"], ["eager"], "cpu", 2, lambda _: None)
    rows = {each["arm"]: each for each in found["rows"]}
    assert list(rows) == ["torch", "backprop", "forward-forward"]
    assert rows["torch"]["step"]["least_ratio"] == rows["torch"]["pass"]["median_ratio"] == 1.0
    assert all(each[kind]["least_s"] > 0 for each in rows.values() for kind in ("step", "pass", "evaluation"))
    of_backprop = 32 * (3 * (6 * 4 + 4 * 10) - 6 * 4)  # multiply-adds of a step: products forward, by weights and by inputs
    assert rows["torch"]["multiply_adds"] == rows["backprop"]["multiply_adds"] == of_backprop
    assert rows["forward-forward"]["multiply_adds_ratio"] == rows["forward-forward"]["multiply_adds"] / of_backprop
    of_evaluation = rows["torch"]["multiply_adds_of_evaluation"]
    assert of_evaluation % (6 * 4 + 4 * 10) == 0
    assert rows["backprop"]["multiply_adds_of_evaluation_ratio"] == 1
    of_forward = rows["forward-forward"]["multiply_adds_of_evaluation"]  # one block: its product once, no other
    assert rows["forward-forward"]["multiply_adds_of_evaluation_ratio"] == of_forward / of_evaluation
    assert found["refused"] == {}


def test_seconds_of_a_pass_and_its_ratio_to_as_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 15 steps in turns: of steps 0.6 s at least, of 3 passes 0.9 s; a pass has 5 steps: .3 / (5 * .6 / 15)."""
    from bench_kit import measuring

    asked: list[list[Any]] = []

    def in_turns(calls: list[Any], windows: int, loaded: Any) -> list[list[float]]:
        asked.append(calls)
        return {1: [[0.8, 0.6]] * len(calls), 2: [[0.9, 1.2]] * len(calls), 3: [[0.1, 0.1]] * len(calls)}[len(asked)]

    monkeypatch.setattr(measuring, "_in_turns", in_turns)
    found = measuring.measured_case(
        measuring.Case("mlp:1x4", "3x2x2", 32, 15), ["mono-forward"], ["eager"], "cpu", 2, lambda _: None
    )
    assert found["rows"][1]["step"]["least_s"] == pytest.approx(0.04)
    assert found["rows"][1]["pass"]["least_s"] == pytest.approx(0.3)
    assert found["rows"][1]["pass"]["median_s"] == pytest.approx(0.35)
    assert found["rows"][1]["pass_by_steps"] == pytest.approx(1.5)
    passes: list[int] = []
    contender = dataclasses.replace(fake(), one_pass=passes.append)
    measuring._passes(contender, 3)()
    assert passes == [0, 1, 2]


def fake() -> Any:
    from bench_kit.contenders import Contender

    return Contender("a", "eager", lambda _: None, lambda _: None, lambda: None, None, None, None, None, None)  # type: ignore[arg-type]


def test_a_pass_of_an_arm_is_that_of_a_training() -> None:
    """The loss of a pass is the mean over its steps, and another pass has another order."""
    from bench_kit.contenders import of_arm, of_torch
    from bench_kit.measuring import in_whole_batches

    data = in_whole_batches("6", 16, 96)
    for make in (lambda: of_torch("mlp:1x4", data, 16), lambda: of_arm("mono-forward", "eager", "mlp:1x4", data, 16)):
        whole, by_hand = make(), make()
        for pass_index in (0, 1):
            given = whole.one_pass(pass_index)
            losses = [by_hand.step(batch).clone() for batch in data.batches("train", 16, pass_index=pass_index)]
            assert getattr(given, "loss", given) == pytest.approx(
                float(torch.stack([each.mean() for each in losses]).mean()), rel=1e-6
            )
    assert of_arm("mono-forward", "eager", "mlp:1x4", data, 16).one_pass(0).steps == data.n("train") // 16


def test_steps_alone_are_measured_where_only_they_are_asked_for() -> None:
    from bench_kit.measuring import Case, measured_case

    found = measured_case(Case("mlp:1x4", "6", 32, 1), [], ["eager"], "cpu", 1, lambda _: None, ["step"])
    assert [each.keys() & {"step", "pass", "evaluation"} for each in found["rows"]] == [{"step"}]
    assert found["rows"][0]["pass_by_steps"] is None


def test_an_arm_that_cannot_train_the_net_has_its_reason() -> None:
    from bench_kit.measuring import Case, measured_case

    found = measured_case(Case("cnn3:2-2-2", "3x8x8", 16, 1), ["pepita"], ["eager"], "cpu", 1, lambda _: None)
    assert [each["arm"] for each in found["rows"]] == ["torch"]
    assert "BatchNorm" in found["refused"]["pepita, eager"]


def test_a_part_goes_to_the_terminal_and_the_whole_to_file_and_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what is compared leaves both, and does not go on with a measurement that was broken off."""
    import json

    import bench

    written: list[dict[str, Any]] = []
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "bench.json")
    monkeypatch.setattr(bench.page, "write", written.append)
    monkeypatch.setattr(bench, "measured_programs", lambda *_: FOUND["programs"])
    made = {"least": 0.8}

    def case(case: Any, *_: Any) -> dict[str, Any]:
        return FOUND["cases"][0] | {"case": case.name, "rows": [row("torch", least=1.0), row("mono-forward", **made)]}

    monkeypatch.setattr(bench, "measured_case", case)
    assert bench.main(["--cases", "mlp:2x256"]) == 0
    assert "| mlp:2x256, batch 128 | mono-forward | eager | 0.80 (0.90) |" in capsys.readouterr().out
    assert (list(tmp_path.iterdir()), written) == ([], [])
    assert bench.main([]) == 0
    (page,) = written
    assert json.loads(bench.RESULTS.read_text()) == page
    assert len(page["cases"]) == len(bench.CASES)
    capsys.readouterr()
    assert bench.main(["--compare", "--cases", "mlp:2x256"]) == 0
    assert capsys.readouterr().out == "nothing became slower by more than the noise of the two runs\n"
    made["least"] = 1.2
    assert bench.main(["--compare", "--cases", "mlp:2x256"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"mlp:2x256, batch {n}: step of mono-forward (eager): 1.20 of torch's, was 0.80 (noise 5%)" for n in (64, 128)
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]
    (tmp_path / "bench.begun.json").write_text("half of it")
    assert bench.main(["--windows", "3"]) == bench.main(["--device", "cpu", "--cases", "mlp:2x256"]) == 0
    assert json.loads(bench.RESULTS.read_text()) == page
    assert (tmp_path / "bench.begun.json").read_text() == "half of it", "a part does not take up, or end, the whole"


def test_windows_below_one_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    import bench

    with pytest.raises(SystemExit):
        bench.main(["--windows", "0"])
    assert "--windows must be at least 1, got 0" in capsys.readouterr().err


def test_an_unknown_kind_of_timing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    import bench

    with pytest.raises(SystemExit):
        bench.main(["--kinds", "step,passes"])
    assert "--kinds are step, pass, evaluation, got 'passes'" in capsys.readouterr().err


def test_torchs_step_has_the_memory_layout_of_the_rules() -> None:
    from bench_kit.contenders import of_torch

    from bpfree import data

    loaded = data.load("synthetic:n=60:inputs=3x8x8").without_test()
    torchs = of_torch("cnn3:4-4-4", loaded, 16)
    seen: list[tuple[bool, bool]] = []

    def look(module: torch.nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        if isinstance(module, torch.nn.Conv2d):
            seen.append((is_by_pixels(given[0]), is_by_pixels(out)))

    handle = torch.nn.modules.module.register_module_forward_hook(look)
    try:
        torchs.step(next(iter(loaded.batches("train", 16))))
    finally:
        handle.remove()
    assert seen == [(True, True)] * 3


def test_a_run_that_is_broken_off_goes_on_behind_its_last_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    import bench

    asked: list[str] = []

    def case(case: Any, *_: Any) -> dict[str, Any]:
        asked.append(case.name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return FOUND["cases"][0] | {"case": case.name}

    monkeypatch.setattr(bench, "measured_case", case)
    arguments = ["--cases", "mlp:2x256", "--no-programs", "--out", str(tmp_path / "b.json")]
    with pytest.raises(KeyboardInterrupt):
        bench.main(arguments)
    assert not (tmp_path / "b.json").exists()
    assert bench.main(arguments) == 0
    first, second = "mlp:2x256, batch 64", "mlp:2x256, batch 128"
    assert asked == [first, second, second]
    assert [each["case"] for each in json.loads((tmp_path / "b.json").read_text())["cases"]] == [first, second]
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]
    assert bench.main([*arguments, "--windows", "3"]) == 0
    assert asked[3:] == [first, second]  # what was asked otherwise is measured again
    with pytest.raises(KeyboardInterrupt):
        asked.clear()
        bench.main(arguments)
    monkeypatch.setattr(bench, "digest_of_kit", lambda: "another")
    assert bench.main(arguments) == 0
    assert asked == [first, second, first, second]  # so is what other code measured
