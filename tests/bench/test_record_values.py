"""From a run that has ended to its record: every number by value, with a run that was made by hand, and every reason."""

from __future__ import annotations

import dataclasses
import importlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bpfree import data, rulesets
from bpfree.bench import environment, record
from bpfree.bench import runs as running
from bpfree.bench.arm import Arm
from bpfree.bench.cost import StepCost, _Counts, _flops_method
from bpfree.bench.counting import ApartCount
from bpfree.bench.load import Load, LoadWatch
from bpfree.bench.measure import _of_two_sittings
from bpfree.bench.record import Ended, record_of, with_test, with_tuning
from bpfree.bench.setting import Setting
from bpfree.bench.suites.scale import scaled_data, split_seed
from bpfree.errors import RulesetError
from bpfree.meter import CarbonFactor, Meter
from bpfree.meter.reading import Reading
from bpfree.models import Model
from bpfree.records import Energy, Flops, HistoryEntry, Memory, PhaseEnd, TuningCost
from bpfree.train import initialise
from bpfree.train.evaluation import Evaluation
from bpfree.train.health import Health

measuring: Any = importlib.import_module("bpfree.bench.measure")
CPU = torch.device("cpu")
RULES = rulesets.load("quick").with_changes(max_passes=9, target={"digits": 0.8})
FACTOR = CarbonFactor(g_per_kwh=360.0, source="by hand", year=2020)
READING = Reading(
    time_s=30.0, joules=500.0, net_joules=200.0, method="rapl", scope="package", measured=True, resolved=False,
    sources={"rapl:0": 500.0}, reasons={"energy.flag.co-tenant": "another process"},
)  # fmt: skip
UNMETERED = Reading(
    time_s=30.0, joules=None, net_joules=None, method=None, scope=None, measured=False, resolved=False,
    reasons=dict.fromkeys(("energy.joules", "energy.net_joules", "energy.method", "energy.scope"), "no source"),
)  # fmt: skip
COST = StepCost(
    Flops(train_step=1000, evaluation=77, orthogonalisation=500, batch_size=64, method="by hand"),
    Memory(weights=1, auxiliary=2, gradients=3, optimiser=4, activations=5, method="by hand"),
    peak_bytes=15, reasons={}, by_phase=(1000, 3000), ends_by_phase=(70, 9), features_by_phase=(0, 11),
    apart=ApartCount("orthogonalisation", 10, 500), evaluation_peak_bytes=99,
)  # fmt: skip


def entry(passes: int, accuracy: float | None, *, improved: bool, phase: int = 0) -> HistoryEntry:
    return HistoryEntry(
        passes=passes, phase=phase, train_loss=None if accuracy is None else 1.0, val_accuracy=accuracy, improved=improved,
        time_s=10.0 * passes, eval_time_s=2.0 * passes, joules=100.0 * passes,
    )  # fmt: skip


HISTORY = [entry(1, 0.7, improved=True), entry(2, 0.85, improved=True), entry(3, 0.8, improved=False)]


def ended(text: str = "pepita:lr=0.02", **changes: Any) -> Ended:
    """A run of PEPITA that read 2.5 batches of 64 in each of three passes."""
    setting = Setting(
        changes.pop("rules", RULES), data.load("digits"), "mlp:1x4", CPU, Meter(CPU), changes.pop("factor", FACTOR),
        {"command": "c"},
        environment.facts(CPU), split_seed=3,
    )  # fmt: skip
    arm = Arm.parse(text)
    algorithm, net = arm.build({}), setting.build_net()
    run = Ended(
        setting, arm, algorithm, net, initialise(algorithm, net, 0, CPU), COST, HISTORY, 9, 480,
        [PhaseEnd(phase=0, reason="cap", passes=3)], READING, Load(12.5, 0.25), setting.arm_rules(arm).stop(), 7, None, "now",
    )  # fmt: skip
    return dataclasses.replace(run, **changes)


def test_every_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass amounts to 480 / 64 / 3 = 2.5 full steps; no work apart falls into nine steps: 3 (2.5 x 1000 + 70) = 7710."""
    run = ended()
    looked: list[Any] = []
    signs = Health(dead_units=(0.25,), tied_scores=0.125, block_accuracy=(0.75,))
    monkeypatch.setattr(record, "health_of", lambda *args: looked.append(args) or signs)
    made = record_of(run, None)
    assert looked == [(run.algorithm, run.net, run.state, run.setting.data, run.phase)]
    assert made.model_dump(exclude={"params", "code_digest", "environment_digest", "versions", "ruleset_digest"}) == {
        "schema": 2, "arm": "pepita:lr=0.02", "algorithm": "pepita", "variant": "lr=0.02", "dataset": "digits",
        "split": run.setting.data.split_digest, "data_digest": run.setting.data.data_digest, "split_seed": 3, "net": "mlp:1x4",
        "n_params": 65 * 4 + 5 * 10, "n_aux_params": 0, "seed": 7, "study": None, "control": False, "untrained_control": False,
        "unequal_search": ["lr"],
        "plan": {"command": "c", "phases": {"all blocks": None}, "target": 0.8}, "status": "ok",
        "reasons": {
            "compile_time_s": "nothing was compiled in the tier eager",
            "energy.flag.co-tenant": "another process", "tuning_energy": "nothing was tuned: the values were given",
            **dict.fromkeys(
                ("test_accuracy", "n_test", "correct", "by_class", "inference"),
                "the test split is read once, when the study is over, and only for its best trial",
            ),
            "study": "one search served all seeds",
            "memory.allocator_peak": "torch keeps no allocator peak for a cpu device; see live_memory",
        },
        "val_accuracy": 0.85, "test_accuracy": None, "n_test": None, "correct": None, "by_class": None, "passes": 3, "steps": 9,
        "examples_seen": 480, "stops": [{"phase": 0, "reason": "cap", "passes": 3}], "forward_passes": 6.0, "time_s": 30.0,
        "eval_time_s": 6.0, "cpu_s": 12.5, "other_load": 0.25,
        "energy": {
            "joules": 500.0, "net_joules": 200.0, "method": "rapl", "scope": "package", "measured": True, "resolved": False,
            "sources": {"rapl:0": 500.0},
        },
        "co2e_g": pytest.approx(0.05), "carbon": {"g_per_kwh": 360.0, "pue": 1.0, "source": "by hand", "year": 2020},
        "tuning_energy": None, "inference": None, "time_to_target_s": 20.0, "energy_to_target_j": 200.0,
        "flops": {
            "train_step": 1000, "evaluation": 77, "orthogonalisation": 500, "batch_size": 64, "method": "by hand",
            "run_total": 7710, "mean_step": 857,
        },
        "peak_memory_bytes": 15, "evaluation_peak_bytes": 99,
        "memory": {
            "weights": 1, "auxiliary": 2, "gradients": 3, "optimiser": 4, "activations": 5, "feature_cache": 0,
            "method": "by hand", "allocator_peak": None,
        },
        "health": {"dead_units": [0.25], "tied_scores": [0.125], "block_accuracy": [0.75]},
        "compile_time_s": None,
        "tier": "eager", "parallel": None, "maths": "closed",
            "history": [each.model_dump() | {"flops": 2570 * each.passes} for each in HISTORY],
        "started_at": "now",
    }  # fmt: skip
    assert made.params["lr"] == 0.02
    assert made.ruleset_digest == rulesets.digest(RULES)
    assert made.environment_digest == environment.digest(run.setting.facts)
    assert (made.code_digest, made.versions) == (environment.run_code_digest(), environment.versions())


def test_operations_up_to_each_pass() -> None:
    """Phases of 2.5 x 1000 + 70 and 2.5 x 3000 + 9 a pass, 11 for features of the second, 500 at every tenth of 24 steps."""
    history = [entry(1, 0.7, improved=True), entry(2, 0.8, improved=True, phase=1), entry(3, 0.8, improved=False, phase=1)]
    made = record_of(ended("mono-forward:schedule=staged:raw_projection=true", history=history, steps=24), None)
    assert [each.flops for each in made.history] == [2570, 2570 + 7509 + 11 + 500, 2570 + 2 * 7509 + 11 + 1000]
    assert made.flops is not None
    assert made.flops.run_total == made.history[-1].flops


@pytest.mark.parametrize(
    ("problem", "status", "why"),
    [
        (KeyboardInterrupt(), "interrupted", "the run was interrupted; the same command runs it again"),
        (ValueError("one line\nanother"), "failed", "ValueError: one line"),
        (MemoryError(), "interrupted", "MemoryError: no message; the same command runs it again"),
        (OSError("no disk"), "interrupted", "OSError: no disk; the same command runs it again"),
        (None, "diverged", "the loss or the validation scores became NaN or infinite in pass 3"),
    ],
)
def test_a_run_that_broke(problem: BaseException | None, status: str, why: str) -> None:
    """What was measured until then stays; the accuracies have the reason."""
    history = HISTORY if problem is not None else [*HISTORY[:2], entry(3, None, improved=False)]
    made = record_of(ended(history=history), problem)
    assert made.status == status
    for name in ("status", "val_accuracy", "test_accuracy", "n_test", "correct", "by_class", "inference"):
        assert made.reasons[name] == why
    assert made.health.model_dump() == {"dead_units": [], "tied_scores": [], "block_accuracy": []}
    assert (made.val_accuracy, made.passes, made.time_s, made.energy.joules) == (None, 3, 30.0, 500.0)


def test_a_run_of_which_no_pass_ended() -> None:
    made = record_of(ended(history=[], steps=None, examples=None, stops=[]), RuntimeError("early"))
    assert made.flops is not None
    assert (made.passes, made.steps, made.examples_seen, made.forward_passes, made.eval_time_s) == (0, None, None, None, None)
    assert (made.flops.run_total, made.flops.mean_step) == (None, None)
    for name in ("eval_time_s", "forward_passes", "steps", "examples_seen"):
        assert made.reasons[name] == "RuntimeError: early"
    assert made.reasons["flops.run_total"] == made.reasons["flops.mean_step"] == "no pass ended"
    refused = dataclasses.replace(COST, by_phase=(), reasons={"flops.train_step": "an operation without a formula"})
    uncounted = record_of(ended(cost=refused), None)
    assert uncounted.reasons["flops.run_total"] == "an operation without a formula"
    assert [each.flops for each in uncounted.history] == [None, None, None]


def test_a_trial_of_a_study_on_a_busy_processor_that_nothing_metered() -> None:
    made = record_of(ended("mono-forward", study=4, load=Load(0.1, None), reading=UNMETERED), None)
    assert (made.study, made.unequal_search, made.other_load) == (4, [], None)
    assert "study" not in made.reasons
    assert made.reasons["other_load"] == "the processor was busy for less than 0.5 s, which is too short to tell"
    assert (made.co2e_g, made.reasons["co2e_g"]) == (None, "there are no joules to multiply")
    bare = record_of(ended(factor=None, rules=RULES.with_changes(target=None)), None)
    assert (bare.co2e_g, bare.carbon.model_dump()) == (None, {"g_per_kwh": None, "pue": 1.0, "source": None, "year": None})
    wanted = "no country was given: name one with --country ISO3, or a factor with --grid-g-per-kwh"
    assert bare.reasons["co2e_g"] == bare.reasons["carbon"] == wanted
    target = "no target accuracy was given; name one with --target 0.95"
    assert bare.reasons["time_to_target_s"] == bare.reasons["energy_to_target_j"] == target
    given = record_of(ended(factor=dataclasses.replace(FACTOR, year=None)), None)
    assert given.reasons["carbon.year"] == "the factor was given by hand"


def test_joules_to_a_target_need_joules_until_then() -> None:
    unmetered = [each.model_copy(update={"joules": None}) for each in HISTORY]
    made = record_of(ended(history=unmetered), None)
    assert (made.time_to_target_s, made.energy_to_target_j) == (20.0, None)
    assert made.reasons["energy_to_target_j"] == "no energy was measured until then"
    assert record_of(ended(history=unmetered, reading=UNMETERED), None).reasons["energy_to_target_j"] == "no source"


def test_what_the_search_cost() -> None:
    made = record_of(ended(), None)
    assert with_tuning(made, None) == made
    cost = TuningCost(joules=1.0, time_s=2.0, trials=3, passes=4, method="rapl")
    tuned = with_tuning(made, cost)
    assert (tuned.tuning_energy, "tuning_energy" in tuned.reasons) == (cost, False)
    unmetered = with_tuning(made, cost.model_copy(update={"joules": None, "method": None}))
    assert unmetered.reasons["tuning_energy"] == "the search was not metered in full"


def test_the_look_at_the_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batch sizes, of which the larger is the headline; bits of 1, 0, 0, 0, 0, 0, 0, 0, 1 are 0x80 0x80.

    Classes of 6, 0 and 3 examples with 1, 0 and 1 right: recalls 1/6, none and 1/3, in the mean 1/4; the largest has 6 of 9.
    """
    run = ended()
    correct = torch.tensor([True, *[False] * 7, True])
    asked: dict[str, Any] = {}

    def measured(models: Any, meter: Any, **options: Any) -> list[Any]:
        asked.update(options, arms=list(models))
        return [
            SimpleNamespace(
                batch_size=size, latency_p50_s=0.1 * size, latency_p95_s=0.3 * size, images_per_s=7.0 * size,
                joules_per_1000=None if size == 1 else 5.0, n_calls=size + 1,
                reasons={"joules_per_1000": "no source", "else": "x"} if size == 1 else {},
            )
            for size in options["batch_sizes"]
        ]  # fmt: skip

    monkeypatch.setattr(record, "evaluate", lambda *args: Evaluation(2 / 9, None, correct, (6, 0, 3), (1, 0, 1)))
    monkeypatch.setattr(record, "measure_inference", measured)
    model = Model(run.algorithm, run.net, run.state, run.phase, run.setting.data.normalisation)
    made = with_test(record_of(run, None), run.setting, model)
    assert (made.test_accuracy, made.n_test, made.correct) == (2 / 9, 9, "gIA=")
    assert made.by_class is not None
    assert made.by_class.model_dump() == {
        "n": [6, 0, 3], "recall": [1 / 6, None, 1 / 3], "balanced_accuracy": pytest.approx(0.25), "majority_share": 6 / 9,
    }  # fmt: skip
    assert not {"test_accuracy", "n_test", "correct", "by_class"} & set(made.reasons)
    assert made.inference is not None
    assert made.inference.model_dump() == {
        "batch_size": 128, "latency_s": 12.8, "joules_per_1000": 5.0,
        "by_batch": {
            "1": {
                "latency_p50_s": 0.1, "latency_p95_s": 0.3, "images_per_s": 7.0, "joules_per_1000": None, "n_calls": 2,
            },
            "128": {
                "latency_p50_s": 12.8, "latency_p95_s": pytest.approx(38.4), "images_per_s": 896.0, "joules_per_1000": 5.0,
                "n_calls": 129,
            },
        },
    }  # fmt: skip
    assert asked == {
        "arms": ["pepita:lr=0.02"], "batch_sizes": (1, 128), "repeats": 40, "window_s": 0.02, "n_windows": 1, "max_s": 5.0,
        "counted": False,
    }  # fmt: skip
    assert {key: why for key, why in made.reasons.items() if key.startswith("inference")} == {
        "inference.by_batch.1.joules_per_1000": "no source"
    }


def test_flops_of_a_run_by_hand() -> None:
    """Two passes of the first phase and one of the second, of 2.5 full steps each; 23 steps hold two times the work apart."""
    expected = 2 * (2.5 * 1000 + 70) + (2.5 * 3000 + 9) + 11 + 2 * 500
    assert COST.run_flops({0: 2, 1: 1}, 23, 480) == expected
    assert COST.run_flops({0: 3, 1: 0}, 9, 480) == 3 * (2.5 * 1000 + 70)
    assert COST.run_flops({}, 9, 480) is None
    assert dataclasses.replace(COST, by_phase=()).run_flops({0: 1}, 9, 480) is None
    counts = _Counts(apart=COST.apart, ends=[70, 9])
    assert counts.end_of_pass == 79
    assert _flops_method(counts) == (
        "FlopCounterMode on one eager step, 2 per multiply-add; one orthogonalisation apart, done every 10 steps; besides, 79 at "
        "the end of each pass (decompositions as in Golub and Van Loan)"
    )
    assert _flops_method(_Counts(ends=[0, 0])) == "FlopCounterMode on one eager step, 2 per multiply-add"


@pytest.mark.parametrize(
    ("own", "busy", "others"), [(1.0, 4.0, 0.75), (4.0, 4.0, 0.0), (5.0, 4.0, 0.0), (0.1, 0.499, None), (0.4, 0.5, 0.2)]
)
def test_the_load_by_others(monkeypatch: pytest.MonkeyPatch, own: float, busy: float, others: float | None) -> None:
    clock = iter([(100.0, 1000.0), (100.0 + own, 1000.0 + busy)])
    monkeypatch.setattr(LoadWatch, "_now", lambda self: next(clock))
    load = LoadWatch().stop()
    assert (load.cpu_s, load.others) == (pytest.approx(own), None if others is None else pytest.approx(others))


def test_joules_of_two_sittings_are_none_and_seconds_those_of_the_history() -> None:
    reading = _of_two_sittings(READING, HISTORY)
    why = "the run was interrupted and resumed; energies of two sittings are not added"
    assert reading == Reading(
        time_s=30.0, joules=None, net_joules=None, method="rapl", scope="package", measured=False, resolved=False,
        sources={"rapl:0": None},
        reasons={"energy.flag.co-tenant": "another process"}
        | dict.fromkeys(("energy.joules", "energy.net_joules", "energy.sources"), why),
    )  # fmt: skip
    assert _of_two_sittings(READING, HISTORY[:1]).time_s == 10.0
    assert Energy(joules=None, net_joules=None, method="x", scope="y", measured=False, resolved=False).sources == {}


class Steps:
    """Stands for what :func:`bpfree.bench.measure.measure` calls, and writes down in which order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, outcome: Any) -> None:
        self.done: list[Any] = []

        def run_once(*args: Any, **options: Any) -> Any:
            self.done.append(("run", args[1:], options["checkpoint"], options.get("on_pass")("a pass")))
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setattr(measuring, "run_once", run_once)
        monkeypatch.setattr(measuring, "with_tuning", lambda made, cost: f"{made} tuned at {cost}")
        monkeypatch.setattr(measuring, "with_test", lambda made, setting, model: f"{made} tested")

    def measure(self) -> Any:
        setting: Any = "setting"
        values, cost = {"lr": 1.0}, "a cost"
        hear = self.done.append
        return measuring.measure(
            setting, "arm", values, 7, cost, on_pass=lambda p: p, checkpoint="file",  # type: ignore[arg-type]
            on_trained=lambda model: hear(("trained", model)), on_trace=lambda made, trace: hear(("trace", made, trace)),
        )  # fmt: skip


RAN = ("run", ("arm", {"lr": 1.0}, 7), "file", "a pass")


@pytest.mark.parametrize(
    ("model", "trace", "made", "told"),
    [
        ("model", "trace", "record tuned at a cost tested", ["trace", "trained"]),
        ("model", None, "record tuned at a cost tested", ["trained"]),
        (None, "trace", "record tuned at a cost", ["trace"]),
        (None, None, "record tuned at a cost", []),
    ],
)
def test_a_run_is_tested_if_it_has_a_model(
    monkeypatch: pytest.MonkeyPatch, model: str | None, trace: str | None, made: str, told: list[str]
) -> None:
    steps = Steps(monkeypatch, ("record", model, trace))
    assert steps.measure() == made
    events = {"trace": ("trace", made, "trace"), "trained": ("trained", "model")}
    assert steps.done == [RAN, *(events[name] for name in told)]


def test_a_run_that_fails_has_the_cost_of_its_search(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: Any = SimpleNamespace(reasons={"status": "why"}, status="failed")
    problem = measuring.RunFailed(failed)
    assert str(problem) == "why"
    problem.__cause__ = ValueError("first")
    steps = Steps(monkeypatch, problem)
    with pytest.raises(measuring.RunFailed) as error:
        monkeypatch.setattr(
            measuring, "with_tuning", lambda made, cost: SimpleNamespace(reasons={}, status="s", of=made, cost=cost)
        )
        steps.measure()
    assert error.value.__cause__ is problem.__cause__
    assert (error.value.record.of, error.value.record.cost) == (failed, "a cost")  # type: ignore[attr-defined]


@pytest.mark.parametrize("cause", [None, ValueError("x"), KeyboardInterrupt()])
def test_a_record_is_written_however_the_run_ends(monkeypatch: pytest.MonkeyPatch, cause: BaseException | None) -> None:
    """The record and its traces first, then an interruption, or the trained model."""
    done: list[Any] = []
    failed: Any = SimpleNamespace(reasons={}, status="failed")

    def measured(*args: Any, **options: Any) -> Any:
        done.append(("measure", args, options["checkpoint"], options["on_pass"]))
        options["on_trace"]("record", "trace")
        if cause is not None:
            raise measuring.RunFailed(failed) from cause
        options["on_trained"]("model")
        return "record"

    monkeypatch.setattr(running, "measure", measured)
    directory: Any = SimpleNamespace(append=lambda made, traces: done.append(("append", made, traces)))
    arguments: Any = ("setting", "arm", {"lr": 1.0}, 7, "cost")
    options: Any = {"on_pass": "heard", "checkpoint": "file", "on_trained": lambda model: done.append(("trained", model))}
    begun = ("measure", arguments, "file", "heard")
    if isinstance(cause, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            running.measure_into(directory, *arguments, **options)
        assert done == [begun, ("append", failed, ["trace"])]
    elif cause is not None:
        assert running.measure_into(directory, *arguments, **options) is failed
        assert done == [begun, ("append", failed, ["trace"])]
    else:
        assert running.measure_into(directory, *arguments, **options) == "record"
        assert done == [begun, ("append", "record", ["trace"]), ("trained", "model")]


def test_a_rehearsal_has_a_part_of_every_split() -> None:
    """digits has 1,257 training, 180 validation and 360 test examples; a batch is the least."""
    whole = data.load("digits")
    sizes = {split: whole.n(split) for split in ("train", "validation", "test")}
    rules = rulesets.load("quick")
    assert scaled_data(whole, rules, 64).n("train") == sizes["train"]
    assert scaled_data(whole, rules.with_changes(train_examples=500), 64).n("train") == 500
    small = scaled_data(whole, rules.scaled(0.1), 64)
    expected = {split: round(0.1 * n) for split, n in sizes.items()}
    assert {split: small.n(split) for split in sizes} == expected
    words = ", ".join(f"{split} {expected[split]:,} of {sizes[split]:,}" for split in ("validation", "test"))
    assert small.note.endswith(f" SCALED: {words} examples.")
    assert small.split_digest != whole.split_digest
    assert scaled_data(whole, rules.scaled(0.01), 100).n("train") == 100
    assert scaled_data(whole, rules.scaled(0.01), 100).n("test") == 10, "one of each class"
    both = scaled_data(whole, rules.with_changes(train_examples=500).scaled(0.5), 64)
    assert both.n("train") == 250
    assert sorted(set(both.splits["test"].y.tolist())) == list(range(10))


@pytest.mark.parametrize("seeds", [(3,), (3, 4)])
def test_a_suite_has_one_split(seeds: tuple[int, ...]) -> None:
    rules = rulesets.load("quick").with_changes({"plan.split_seeds": list(seeds)})
    if len(seeds) == 1:
        assert split_seed(rules) == 3
        return
    with pytest.raises(RulesetError) as error:
        split_seed(rules)
    assert str(error.value) == (
        "ruleset quick runs 2 split seeds, and a suite runs one; add plan.split_seeds: [3] to the changes of the ruleset"
    )
