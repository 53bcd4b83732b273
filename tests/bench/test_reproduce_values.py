"""A suite as it is checked, loaded and run: who refuses a row, and what is done in which order."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bpfree import data, rulesets
from bpfree.bench import environment, reproduce
from bpfree.bench.reproduce import ArmGroup, Reproduction
from bpfree.bench.suite_choice import choose
from bpfree.bench.suites.schema import Row, Suite
from bpfree.bench.suites.sizes import Size
from bpfree.errors import DataError, RulesetError, RunDirectoryError, StorageError, UsageError
from bpfree.meter import Meter

from .test_suite_values import FIELDS, SUITE

ANY: Any = None
CPU = torch.device("cpu")


ROW: dict[str, Any] = {"dataset": "mnist", "net": "mlp:1x8", "arm": "backprop"}
NUMBER = {"test_accuracy_percent": 50.0, "source": "by hand"}


class Net:
    """A net that notes which batches it is asked about."""

    def __init__(self, done: list[Any]) -> None:
        self.done = done

    def check_batches(self, n: int, size: int) -> None:
        self.done.append(("batches", n, size))
        if n == 13:
            raise UsageError("a batch of one")


def test_who_refuses_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness, the rule, and batches of a run and of a trial; a row that is not run is passed over, as are unknown data."""
    done: list[Any] = []
    refusing = ""

    def check(name: str) -> Any:
        def checked(*args: Any) -> None:
            done.append(name)
            if name == refusing:
                raise RulesetError(f"{name} says no")

        return checked

    monkeypatch.setattr(reproduce, "check_supported", check("harness"))
    monkeypatch.setattr(reproduce, "check_net", check("rule"))
    built: list[Any] = []
    monkeypatch.setattr(reproduce, "build", lambda *key: built.append(key) or Net(done))
    monkeypatch.setattr(rulesets.Ruleset, "trial_examples", lambda self, n, classes: n_trial)
    n_trial = 500
    chosen = choose(SUITE)
    chosen.check()
    assert [line.reason for line in chosen.lines] == ["", "", "too long", "", ""]
    assert done[:4] == ["harness", "rule", ("batches", 50_000, 64), ("batches", 500, 64)]
    assert done[-2:] == [("batches", 50_000, 128), ("batches", 500, 128)]
    assert (len(done), built) == (16, [("mlp:1x8", (1, 28, 28), 10), ("mlp:2x1000", (1, 28, 28), 10)])
    for refusing in ("harness", "rule"):
        refused = choose(SUITE)
        refused.check()
        assert [line.reason for line in refused.lines] == [f"{refusing} says no"] * 2 + ["too long"] + [f"{refusing} says no"] * 2
    refusing, n_trial = "", 13
    refused = choose(SUITE, arms=("pepita",))
    refused.check()
    assert refused.lines[0].reason == "a batch of one"
    refused = choose(SUITE, arms=("pepita",))
    monkeypatch.setattr(Reproduction, "size", lambda self, key, dataset: None)
    refused.check()
    assert refused.lines[0].reason == ""


def test_an_estimate_needs_the_size_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = choose(SUITE, arms=("pepita",))
    monkeypatch.setattr(Reproduction, "size", lambda self, key, dataset: None)
    with pytest.raises(UsageError, match=r"^the size of data set mnist is not known; load it first$"):
        chosen.estimates(CPU, Meter(CPU))


def test_what_a_run_of_a_suite_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads are set back before each net, and at the end; the plan is written before and after."""
    chosen, done = choose(SUITE, dataset_names=("mnist",)), []
    n_params = iter((3, 4, 5))

    def comparison(self: Any, group: ArmGroup, *rest: Any) -> Any:
        n = next(n_params)
        net = SimpleNamespace(parameters=lambda: [torch.zeros(n), torch.zeros(10, 2)])
        here = SimpleNamespace(build_net=lambda: net, ruleset=SimpleNamespace(batch_size=n), facts=None)
        return SimpleNamespace(n_passes=lambda: n, setting=here, observer=None, jobs=None, group=group)

    @contextmanager
    def watch(total: int) -> Any:
        done.append(("watch", total))
        yield "observer"
        done.append("watched")

    def run_group(self: Any, one: Any, accept: bool) -> None:
        done.append(("run", one.observer, one.jobs, one.setting.facts, accept))

    monkeypatch.setattr(Reproduction, "_comparison", comparison)
    monkeypatch.setattr(Reproduction, "_run_group", run_group)
    monkeypatch.setattr(Reproduction, "_write_plan", lambda self, out: done.append(("plan", out)))
    monkeypatch.setattr(Reproduction, "check_place", lambda self, out: damage)
    monkeypatch.setattr(reproduce, "set_aside", lambda *args: done.append(args))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: done.append(("threads", n)))
    monkeypatch.setattr(environment, "configure_torch", lambda *args: done.append(args))
    monkeypatch.setattr(environment, "facts", lambda device: "facts")
    damage, out = "it is odd", tmp_path / "a" / "out"
    given: Any = {
        "device": CPU,
        "meter": ANY,
        "factor": None,
        "command": "c",
        "watch": watch,
        "accept_other_code": True,
        "jobs": 5,
    }
    chosen.run(out, **given)
    assert out.is_dir()

    def group(n: int) -> list[Any]:
        return [("threads", 6), (n + 20, n, CPU), ("run", "observer", 5, "facts", True)]

    damaged = (out / "suite.json", "it is odd", "the rows that earlier commands selected are lost, their runs are kept")
    whole = [("plan", out), ("watch", 12), *group(3), *group(4), *group(5), "watched", ("threads", 6), ("plan", out)]
    assert done == [damaged, *whole]
    assert chosen.run.__kwdefaults__ == {"accept_other_code": False, "jobs": 1}
    done.clear()
    damage, n_params = "", iter((3, 4, 5))
    chosen.run(out, **given)
    assert done == whole


class Directory:
    """Stands for a run directory."""

    def __init__(self, measured: list[tuple[str, str, str]]) -> None:
        self.lines: list[str] = []
        self.asked: list[Any] = []
        self._measured = measured

    @contextmanager
    def opened(self, rules: Any, facts: Any, *, accept_other_code: bool) -> Any:
        self.asked.append((rules, facts, accept_other_code))
        yield self

    def log(self, line: str) -> None:
        self.lines.append(line)

    def records(self) -> list[Any]:
        return [SimpleNamespace(arm=arm, dataset=dataset, net=net) for arm, dataset, net in self._measured]


def group_run(error: Exception | None, interrupted: list[str]) -> tuple[Reproduction, Directory]:
    """The group of pepita and backprop on MNIST of ruleset one; backprop has been measured."""
    chosen = choose(SUITE)
    directory = Directory([("backprop", "mnist[500]", "mlp:1x8"), ("pepita", "mnist[500]", "other")])
    plan = {"suite_ruleset": "one", "suite_dataset": "mnist"}
    here = SimpleNamespace(ruleset="rules", facts="facts", plan=plan, net="mlp:1x8", data=SimpleNamespace(name="mnist[500]"))

    def run() -> None:
        if error is not None:
            raise error

    comparison: Any = SimpleNamespace(setting=here, directory=directory, run=run, interrupted=interrupted)
    chosen._run_group(comparison, True)
    return chosen, directory


@pytest.mark.parametrize(
    ("error", "interrupted", "why"),
    [
        (None, [], ""),
        (None, ["pepita: memory ran out", "more"], "pepita: memory ran out"),
        (UsageError("no"), [], "UsageError: no"),
        (RuntimeError("odd"), ["left out"], "RuntimeError: odd"),
        (MemoryError(), [], "MemoryError: no message"),
    ],
)
def test_a_group_that_fails_gives_its_rows_a_reason(error: Exception | None, interrupted: list[str], why: str) -> None:
    chosen, directory = group_run(error, interrupted)
    assert [line.reason for line in chosen.lines] == [why, "", "too long", "", ""]
    assert chosen.interrupted == interrupted
    assert directory.asked == [("rules", "facts", True)]
    assert directory.lines == ([] if error is None else [f"mnist mlp:1x8: {why}"])


@pytest.mark.parametrize(
    "error", [StorageError("full"), RunDirectoryError("other"), RuntimeError("CUDA error: lost"), ValueError("a fault of ours")]
)
def test_what_no_other_group_can_be_run_after_is_raised(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        group_run(error, [])
    assert caught.value is error


def test_the_comparison_of_a_group(tmp_path: Path) -> None:
    fields = FIELDS | {"sections": [FIELDS["sections"][0] | {"rows": [ROW | {"dataset": "digits", "published": NUMBER}]}]}
    chosen = choose(Suite.model_validate(fields), scale=0.5, n_seeds=2)
    chosen.load(None)
    (group,) = chosen.groups()
    made = chosen._comparison(group, tmp_path, CPU, Meter(CPU), None, "the command")
    assert made.setting.plan == {
        "command": "the command", "suite": "small", "suite_ruleset": "one", "suite_dataset": "digits", "scale": 0.5,
        "stamps": ["SCALED"], "dataset": made.setting.data.name, "net": "mlp:1x8", "device": "cpu", "tier": "eager",
        "arms": ["backprop"], "seeds": [0, 1],
    }  # fmt: skip
    assert (made.seeds, made.directory.path, made.setting.split_seed) == ((0, 1), tmp_path / "one", 0)
    assert chosen.size("one", "digits") == Size.of(made.setting.data)
    assert made.setting.data.n("train") == round(data.load("digits").n("train") / 2)
    assert Row.model_validate(ROW | {"published": NUMBER}).run_key == ("mnist", "mlp:1x8", "backprop")
    chosen._write_plan(tmp_path)
    assert (tmp_path / "suite.json").read_text().startswith('{\n  "suite": "small"')


def test_data_are_loaded_once_for_each_split_and_absent_ones_have_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rulesets one and two split MNIST alike; CIFAR-10 is not asked for, since its row is not run."""
    asked: list[Any] = []
    plain = data.load("digits")
    absent: tuple[str, ...] = ()

    def loading(name: str, **named: Any) -> data.Dataset:
        asked.append((name, named["download"], named["split_seed"]))
        if name in absent:
            raise DataError(f"{name} is not here")
        return plain

    monkeypatch.setattr(reproduce.datasets, "load", loading)
    chosen = choose(SUITE)
    chosen.load(None, download=False)
    assert (asked, sorted(chosen.data)) == ([("mnist", False, 0)], [("one", "mnist"), ("two", "mnist")])
    assert [line.reason for line in chosen.lines] == ["", "", "too long", "", ""]
    absent = ("mnist",)
    with pytest.raises(DataError, match=r"^suite small has no data here: mnist is not here$"):
        choose(SUITE).load(None)
    assert asked[1:] == [("mnist", True, 0)]
    rows = [ROW | {"dataset": name, "published": NUMBER} for name in ("mnist", "cifar10")]
    fields = FIELDS | {"sections": [FIELDS["sections"][0] | {"rows": rows}]}
    both = choose(Suite.model_validate(fields))
    both.load(None)
    assert [line.reason for line in both.lines] == ["mnist is not here", ""]
    several = FIELDS["rulesets"]["one"] | {"changes": {"plan.split_seeds": [0, 1]}}
    refused = choose(Suite.model_validate(fields | {"rulesets": FIELDS["rulesets"] | {"one": several}}))
    refused.load(None)
    assert all(line.reason.startswith("ruleset quick") and "2 split seeds" in line.reason for line in refused.lines)
