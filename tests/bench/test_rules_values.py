"""Arms, the rules they run under, what is searched for them, and where they are refused: every message and value whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import torch
from pydantic import TypeAdapter

from bpfree import data, rulesets
from bpfree.bench import directory, environment, preparation, spaces, study
from bpfree.bench.arm import Arm, parse_arms, with_control
from bpfree.bench.arm_rules import ArmRules
from bpfree.bench.damage import DamagedFileWarning
from bpfree.bench.directory import RunDirectory
from bpfree.bench.draws import sequence_number, study_seed, trial_seed
from bpfree.bench.json_file import read_json
from bpfree.bench.outcome import Tried
from bpfree.bench.setting import Setting, check_runnable, check_supported
from bpfree.bench.tuned import TunedRow, read_tuned, write_tuned
from bpfree.errors import BpfreeError, RunDirectoryError
from bpfree.meter import Meter

CPU = torch.device("cpu")
QUICK = rulesets.load("quick")


def refusal(call: Any, *arguments: Any) -> str:
    with pytest.raises(BpfreeError) as error:
        call(*arguments)
    return str(error.value)


def test_an_arm_and_its_control() -> None:
    arm = Arm.parse(" mono-forward:schedule=staged:lr=0.5 ")
    assert arm == Arm("mono-forward:schedule=staged:lr=0.5", "mono-forward", {"schedule": "staged", "lr": "0.5"})
    assert arm.variant == "schedule=staged:lr=0.5"
    control = arm.as_control()
    assert (control.label, control.plain, control.control) == (f"{arm.label}#control", arm.label, True)
    assert control.as_control() == control
    built: Any = arm.build({"lr": 0.25, "weight_decay": 0.125})
    assert (built.lr, built.weight_decay, built.schedule) == (0.5, 0.125, "staged")
    assert Arm.parse("backprop").variant == ""
    assert refusal(Arm.parse, "backprob").startswith("unknown algorithm 'backprob'; did you mean backprop")
    assert refusal(Arm.parse, "backprop:lr=0") == "backprop: lr must be a finite number above 0, got 0.0"


def test_lists_of_arms() -> None:
    arms = parse_arms("mono-forward, backprop:lr=0.5,,backprop")
    assert [arm.label for arm in arms] == ["mono-forward", "backprop:lr=0.5", "backprop"]
    assert refusal(parse_arms, " , ") == "no arm was given; write --arms backprop,mono-forward"
    assert refusal(parse_arms, "pepita,foton,pepita") == "the arm 'pepita' is listed 2 times; list it once"
    assert [arm.label for arm in with_control(arms)] == ["mono-forward", "backprop:lr=0.5", "backprop", "backprop#control"]
    assert with_control(arms[:2])[-1].label == "backprop:lr=0.5#control"
    assert with_control(parse_arms("pepita,foton"))[-1].label == "pepita#control"


def test_the_readout_that_the_ruleset_chooses() -> None:
    """Mono-Forward has several readouts, backprop one, and an arm that fixes another is refused."""
    rules = QUICK.with_changes(readout="best-prefix-on-validation")
    mono, backprop, chosen = (Arm.parse(text) for text in ("mono-forward", "backprop", "mono-forward:readout=best-prefix"))
    assert mono.under(QUICK) is mono
    assert mono.under(rules).fixed == {"readout": "best-prefix"}
    assert chosen.under(rules) == chosen
    assert backprop.under(rules) is backprop
    assert refusal(Arm.parse("mono-forward:readout=last").under, rules) == (
        "ruleset quick+changed chooses the readout on validation for every arm that can, but mono-forward:readout=last fixes "
        "readout=last; leave that out, or use a ruleset with readout: as-the-arm-says"
    )
    assert refusal(check_supported, rules, [Arm.parse("mono-forward:readout=last")]).startswith("ruleset quick+changed chooses")


def test_the_rules_of_an_arm() -> None:
    rules = QUICK.with_changes(
        {"budget.max_passes": 9, "search.trials": 6, "search.passes_per_trial": 4},
        exceptions=[{"arms": ["pepita"], "field": "search.passes_per_trial", "value": 3, "why": "x", "nets": ["mlp:1x8"]}],
    )
    under = ArmRules(rules, Arm.parse("pepita").as_control(), "digits", "mlp:1x8", "digest")
    assert (under.trials, under.passes, under.trial_passes) == (6, 9, 3)
    assert (under.stop().max_passes, under.stop(trial=True).max_passes) == (9, 3)
    assert under.cell(5) == ("pepita#control", "digits", "digest", "mlp:1x8", 5)
    assert ArmRules(rules, Arm.parse("pepita"), "digits", "mlp:2x8").trial_passes == 4
    assert ArmRules(rules, Arm.parse("backprop"), "digits", "mlp:1x8").trial_passes == 4


def between(low: float, high: float) -> dict[str, float]:
    return {"low": low, "high": high}


RANGES = {
    "*": {"lr": between(0.001, 0.1), "weight_decay": between(0.01, 1.0)},
    "mono-forward:schedule=staged": {"lr": between(0.002, 0.2)},
}
SEARCHED = QUICK.with_changes({"search.spaces": RANGES})


def test_what_is_searched_for_an_arm() -> None:
    def ranges(text: str, rules: rulesets.Ruleset = SEARCHED) -> dict[str, tuple[float, float]]:
        return {name: (bounds.low, bounds.high) for name, bounds in spaces.space_for(rules, Arm.parse(text)).items()}

    assert ranges("backprop") == {"lr": (0.001, 0.1), "weight_decay": (0.01, 1.0)}
    assert ranges("mono-forward:schedule=staged") == {"lr": (0.002, 0.2), "weight_decay": (0.01, 1.0)}
    assert ranges("backprop:lr=0.5") == {"weight_decay": (0.01, 1.0)}
    assert spaces.fixed_though_searched(SEARCHED, Arm.parse("backprop:lr=0.5:momentum=0.5")) == ["lr"]
    nothing = SEARCHED.with_changes(trials=0)
    assert spaces.fixed_though_searched(nothing, Arm.parse("backprop:lr=0.5")) == []
    assert refusal(spaces.check_named, nothing, parse_arms("backprop:lr=0.5:weight_decay=0.5,pepita:lr=0.5")) == (
        "search.trials is 0, so that every arm must name its hyper-parameters, but pepita:lr=0.5 does not name weight_decay; "
        "write pepita:lr=0.5:weight_decay=VALUE, or give --trials 1 or more"
    )
    spaces.check_named(SEARCHED, parse_arms("pepita"))
    bounds = spaces.space_for(SEARCHED, Arm.parse("backprop"))["lr"]
    optuna = spaces.distribution(bounds)
    assert (optuna.low, optuna.high, optuna.log) == (0.001, 0.1, True)


def test_spaces_that_cannot_be_searched() -> None:
    unknown = QUICK.with_changes({"search.spaces": {"no-rule": {"lr": between(0.1, 0.2)}}})
    assert refusal(spaces.check_spaces, unknown, []) == (
        "ruleset quick+changed: search.spaces names 'no-rule', which is no rule; see bpfree list algorithms"
    )
    word = QUICK.with_changes({"search.spaces": {"mono-forward": {"schedule": between(0.1, 0.2), "unknown": between(0.1, 0.2)}}})
    assert refusal(spaces.check_spaces, word, parse_arms("mono-forward")).startswith(
        "ruleset quick+changed searches schedule, which is no number of mono-forward; its numbers: lr, weight_decay"
    )
    spaces.check_spaces(word, parse_arms("backprop"))


def setting(rules: rulesets.Ruleset = QUICK, net: str = "mlp:1x4", **changes: Any) -> Setting:
    return Setting(rules, data.load("digits"), net, CPU, Meter(CPU), None, {}, environment.facts(CPU), **changes)


def test_a_setting_knows_its_net_and_rules() -> None:
    here = setting()
    assert next(here.build_net().parameters()).shape == (4, 64)
    assert here.arm_rules(Arm.parse("pepita")).cell(3) == ("pepita", "digits", here.data.data_digest, "mlp:1x4", 3)
    check_runnable(here, parse_arms("backprop,pepita"))
    short = QUICK.with_changes(max_passes=1)
    told = refusal(check_runnable, setting(short, "mlp:2x4"), parse_arms("mono-forward:schedule=staged"))
    assert "1" in told and "2" in told


def test_seeds_of_trials_and_studies() -> None:
    """A control's are 500 million later; split seeds are 1,000 sequences apart, studies 1,000 seeds, as trials are at most."""
    most = rulesets.search.MOST_TRIALS
    assert (trial_seed(3), trial_seed(3, control=True)) == (1_000_003, 501_000_003)
    assert (sequence_number(2), sequence_number(2, split_seed=3)) == (2, 3 * most + 2)
    assert study_seed(2, 5, split_seed=3) == (3 * most + 2) * most + 5
    assert study_seed(2, 5, control=True) == 500_000_000 + 2 * most + 5


def test_splits_of_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = QUICK.with_changes({"plan.split_seeds": [3, 5, 8], "train_examples": 500})
    first = preparation.prepare(rules, "digits", "mlp:1x4", CPU, plan={"command": "c", "net": "overwritten"})
    assert first.plan == {
        "command": "c", "net": "mlp:1x4", "split_seeds": [3, 5, 8], "control": False, "dataset": "digits[500]", "device": "cpu",
        "tier": "eager",
    }  # fmt: skip
    assert (first.split_seed, first.data.n("train"), first.net) == (3, 500, "mlp:1x4")
    others = preparation.other_splits(first, "digits")
    assert [other.split_seed for other in others] == [5, 8]
    assert len({first.data.data_digest, *(other.data.data_digest for other in others)}) == 3
    assert all(other.costs is not first.costs for other in others)
    assert preparation.other_splits(setting(), "digits") == ()
    assert refusal(preparation.other_splits, first, "mnist").startswith("the split of digits[500] is fixed (")
    assert refusal(preparation.other_splits, first, "mnist").endswith("); use one split seed")

    def huge(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(preparation.nets, "named", huge)
    assert refusal(preparation.prepare, QUICK, "digits", "mlp:1x4", CPU) == (
        "the net 'mlp:1x4' cannot be built on digits: its parameters do not fit into memory; choose a smaller one"
    )


@pytest.mark.parametrize(("sources", "idle"), [((), []), (("a source",), [1.0])])
def test_idle_power_needs_a_source(monkeypatch: pytest.MonkeyPatch, sources: Any, idle: list[float]) -> None:
    asked: list[Any] = []

    class Found:
        def measure_idle(self, seconds: float) -> None:
            asked.append(seconds)

    found: Any = Found()
    found.sources = sources
    monkeypatch.setattr(preparation.Meter, "detect", lambda device, estimate: found)
    assert preparation.ready_meter(CPU, estimate=True) is found
    assert asked == idle


def row(**changes: Any) -> TunedRow:
    values: dict[str, Any] = {
        "arm": "a", "algorithm": "a", "dataset": "d", "net": "n", "best": {}, "best_val_accuracy": 0.5,
        "trials": 1,
        "time_s": 1.0,
        "joules": None, "space": {}, "at_edge": [],
    }  # fmt: skip
    return TunedRow.model_validate(values | changes)


def test_rows_of_searches_replace_those_of_the_same_search(tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    assert read_tuned(path) == []
    others = [row(arm="b"), row(dataset="e"), row(net="m"), row(study=1), row(data_digest="x")]
    write_tuned(path, [row(trials=1), *others, row(trials=7)])
    assert read_tuned(path) == [row(trials=7), *others]
    assert "passes_per_trial" not in json.loads(path.read_text())[0], "what was not written stays out"
    path.write_text('[{"arm": 3}]')
    assert refusal(read_tuned, path) == f"{path} cannot be read (0.arm: Input should be a valid string)"
    path.write_text("{")
    assert refusal(read_json, path, TypeAdapter(list[int]), []).startswith(f"{path} cannot be read (Invalid JSON")


def test_a_damaged_file_of_searches_is_set_aside_and_made_anew(tmp_path: Path) -> None:
    place = RunDirectory(tmp_path)
    damage = f"{tmp_path / 'tuned.json'} cannot be read (0.arm: Input should be a valid string)"
    lost = "searches of other commands come back when those are given again"
    (tmp_path / "tuned.json").write_text('[{"arm": 3}]')
    with pytest.warns(DamagedFileWarning) as warned:
        place.add_tuned([row()])
    assert [str(each.message) for each in warned] == [
        f"{damage}: it is made again, {lost}; the damaged file is kept as tuned.json.damaged"
    ]
    assert place.log_path.read_text().endswith(f" {damage}: {lost}\n")
    assert (place.tuned(), (tmp_path / "tuned.json.damaged").read_text()) == ([row()], '[{"arm": 3}]')
    (tmp_path / "tuned.json").write_text("[]")
    place.add_tuned([])
    assert (tmp_path / "tuned.json").read_text() == "[]", "where nothing is added nothing is written"


def test_a_directory_refuses_other_rules_and_other_code(tmp_path: Path) -> None:
    facts = environment.facts(CPU)
    place = tmp_path / "R"
    with RunDirectory(place).opened(QUICK, facts):
        pass
    other = QUICK.with_changes(max_passes=7)
    told = refusal(RunDirectory(place).opened(other, facts).__enter__)
    assert told == (
        f"{place} holds runs under another ruleset ({'; '.join(rulesets.difference(QUICK, other))}); choose another --out DIR, "
        "or give the options it was made with"
    )
    newer = facts.model_copy(update={"versions": facts.versions | {"torch": "0.0"}})
    with RunDirectory(place).opened(QUICK, newer):
        pass  # nothing was run yet
    (place / "environment.json").unlink()
    with RunDirectory(place).opened(QUICK, facts):
        (place / "records.jsonl").write_text("x")
    told = refusal(RunDirectory(place).opened(QUICK, newer).__enter__)
    assert told == (
        f"{place} was made by other code (torch {facts.versions['torch']}, now 0.0), and results of two versions should not be "
        "mixed; choose another --out DIR, install the version that made it, or accept the mixture with --accept-other-code"
    )
    with RunDirectory(place).opened(QUICK, newer, accept_other_code=True):
        pass
    assert f"other code accepted: torch {facts.versions['torch']}, now 0.0" in (place / "log.txt").read_text()
    assert len(environment.read_environments(place / "environment.json")) == 2
    (tmp_path / "file").touch()
    assert refusal(RunDirectory(tmp_path / "file").opened(QUICK, facts).__enter__) == (
        f"{tmp_path / 'file'} is a file; choose another --out DIR"
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(RunDirectoryError, match=r"is not empty and not a run directory \(it has no ruleset\.yaml\); choose"):
        RunDirectory(tmp_path / "full").opened(QUICK, facts).__enter__()


@pytest.mark.parametrize(
    ("n_params", "device", "given", "threads"),
    [
        (1000, "cpu", None, [1]),
        (260_416, "cpu", None, [1]),  # 3 x 260,416 x 64 = 49,999,872
        (260_417, "cpu", None, []),  # 50,000,064
        (1000, "cuda", None, []),
        (1000, "cpu", "4", []),
    ],
)
def test_threads(monkeypatch: pytest.MonkeyPatch, n_params: int, device: str, given: str | None, threads: list[int]) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    environment.configure_torch(n_params, 64, torch.device(device))
    assert asked == threads
    assert torch.backends.cudnn.allow_tf32 is False


def test_a_new_directory_has_the_date_and_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Day:
        @staticmethod
        def today() -> Any:
            return SimpleNamespace(isoformat=lambda: "2026-01-02")

    monkeypatch.setattr(directory, "date", Day)
    for name in ("2026-01-02-x", "2026-01-02-x-2", "2026-01-02-x-3"):
        path = directory.fresh_path("x", tmp_path)
        assert path == tmp_path / name
        path.mkdir()
    monkeypatch.chdir(tmp_path)
    assert directory.fresh_path("x") == Path("runs/2026-01-02-x")


def test_traces_are_named_by_arm_and_draw(tmp_path: Path) -> None:
    """In a study the best trial so far replaces the one before."""
    place = directory.RunDirectory(tmp_path)
    wrote: list[Any] = []
    trace: Any = SimpleNamespace(lines=lambda about: wrote.append(about) or "lines")
    facts = {"dataset": "digits", "net": "mlp:1x4", "ruleset_digest": "d", "started_at": "now"}
    for number, draw in ((None, "seed7"), (3, "study3")):
        cell = ("pepita:lr=0.5", "digits", "x", "mlp:1x4", 7 if number is None else number)
        record: Any = SimpleNamespace(arm="pepita:lr=0.5", seed=7, study=number, cell=cell, **facts)
        place.keep_trace(record, trace)
        assert wrote[-1] == facts | {"arm": "pepita:lr=0.5", "seed": 7}
        which = hashlib.sha256(json.dumps(cell).encode()).hexdigest()[:8]
        assert (tmp_path / "timelines" / f"pepita-lr-0-5-{draw}-{which}.jsonl").read_text() == "lines"


def test_a_trial_that_was_running_counts_for_nothing() -> None:
    """Its process died, under a version that wrote trials that were begun; its number is tried again."""
    here, arm, storage = setting(), Arm.parse("backprop"), optuna.storages.InMemoryStorage()
    first = study.open_study(storage, here, arm, None)
    first.ask()
    first.tell(first.ask(), 0.5)
    again = study.open_study(storage, here, arm, None)
    assert [trial.state.name for trial in again.trials] == ["RUNNING", "COMPLETE"]
    assert [trial.value for trial in study.finished_trials(again)] == [0.5]
    proposals = study.Proposals(here, arm, 0)
    values = proposals.ask(again, 1)
    proposals.tell(again, Tried(values, 0.25, 11, 2, 1.5, None, None, diverged=False), mark="x")
    assert [trial.state.name for trial in again.trials] == ["RUNNING", "COMPLETE", "COMPLETE"]
    _, told = study.finished_trials(again)
    assert (told.value, told.params) == (0.25, values)
    assert told.user_attrs == {
        "seed": 11, "passes": 2, "time_s": 1.5, "joules": None, "method": None, "diverged": False, "mark": "x",
    }  # fmt: skip
    assert again.study_name == f"backprop@digits@mlp:1x4@data {here.data.data_digest[:16]}"
    assert study.open_study(storage, here, arm, 3).study_name == f"{again.study_name}@split 0@study 3"
    assert str(again.direction) == "2"
