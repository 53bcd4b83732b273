"""The reports whose whole text is compared (:mod:`tests.report.test_page_values`); no two of their numbers agree by chance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bpfree import report, rulesets
from bpfree.records import Record
from tests.report.conftest import QUICK, tuned_entry, tuned_params
from tests.report.golden import FIRST, LARGE, LATE, OTHER, RUNS, SHORT, record, write_first
from tests.report.page_pins import FASTER, MACHINE, MIB, REASONS, VERSIONS, pinned, repinned, written
from tests.report.page_suites import rehearsal, suite
from tests.report.page_text import report_text
from tests.report.test_golden_verdicts import RULES as CLAIM
from tests.report.test_golden_verdicts import golden_records

__all__ = ["CASES"]


def _report(directories: Sequence[Path], rules: rulesets.Ruleset, root: Path, target: Any = None, **options: Any) -> str:
    return report_text(
        lambda: report.build(directories, root / "out", target, **options),
        lambda: report.headline_rows(directories, target, **options),
        lambda: report.summarise(directories, target, **options),
        rules,
        root,
    )


def first(root: Path) -> str:
    """The golden report: three tasks, lost runs, no flag but theirs."""
    return _report([repinned(write_first(root / "first"), FIRST)], FIRST, root, 0.9)


def claim(root: Path) -> str:
    """Five studies under rules that allow claims, with a control."""
    runs = [pinned(run, k) for k, run in enumerate(golden_records())]
    return _report([written(root / "claim", runs, CLAIM)], CLAIM, root)


def of(arm: str, run: Any, minute: int, rules: rulesets.Ruleset, task: tuple[str, str] = LARGE, **changes: Any) -> Record:
    """A record of an arm of the golden report under other rules, with other fields."""
    return pinned(record(rules, task, arm, run), minute, **changes)


def with_loss(run: Record, factor: float) -> list[dict[str, Any]]:
    """Its history with other training losses."""
    return [entry.model_dump() | {"train_loss": factor / entry.passes} for entry in run.history]


def searched(trials: int, joules: float | None = 40.0) -> dict[str, Any]:
    return {
        "joules": joules,
        "time_s": 2.5 * trials,
        "trials": trials,
        "passes": 4 * trials,
        "method": None if joules is None else "nvml",
    }


TROUBLED = FIRST.with_changes(
    trials=8, passes_per_trial=4, readout="best-prefix-on-validation",
    **{"search.sampler": {"name": "tpe"}},
    exceptions=[{"arms": ["pepita"], "field": "stop.min_delta", "value": 0.25, "why": "a trial"}],
)  # fmt: skip
ESTIMATED = {"method": "estimate", "measured": False}


def troubles(root: Path) -> str:
    """Two directories on two machines with every kind of flag that a finished comparison may have."""
    rules, plan = TROUBLED, {"arms": ["backprop", "mono-forward", "pepita", "forward-forward"], "seeds": [0, 1, 2, 3, 5]}
    base, mono, pepita, forward = (RUNS[LARGE][arm] for arm in ("backprop", "mono-forward", "pepita", "forward-forward"))

    def made(arm: str, run: Any, minute: int, **changes: Any) -> Record:
        return of(arm, run, minute, rules, plan={"phases": {"all blocks": None}, "command": f"run {arm}", **plan}, **changes)

    def estimated(run: Record, resolved: bool) -> dict[str, Any]:
        return {"energy": run.energy.model_dump() | ESTIMATED | {"resolved": resolved}}

    morning = [
        *(made("backprop", run, k, tuning_energy=searched(8)) for k, run in enumerate(base[:3])),
        made("backprop", base[3], 3, stops=[{"phase": 0, "reason": "cap", "passes": 6}], tuning_energy=searched(8)),
        made("mono-forward", mono[0], 10, variant="readout=best-prefix", tuning_energy=searched(4)),
        made("mono-forward", mono[1], 11, tuning_energy=searched(4), stops=[{"phase": 0, "reason": "hours", "passes": 4}]),
    ]
    morning = [
        run.model_copy(update=Record.model_validate(run.model_dump(by_alias=True) | estimated(run, k != 1)).__dict__)
        for k, run in enumerate(morning)
    ]
    lost = ("test_accuracy", "val_accuracy", "status")
    none = dict.fromkeys(lost[:2])
    evening = [
        *(
            made("pepita", run, 2 * k, tier="compiled", steps=12 * len(run[5]), examples_seen=80 * len(run[5]) + k)
            for k, run in enumerate(pepita)
        ),
        made("forward-forward", forward[0], 20, other_load=0.3, val_accuracy=0.35, tuning_energy=searched(8, None)),
        made("forward-forward", forward[1], 21, other_load=0.2, maths="autograd", tuning_energy=searched(8, None)),
    ]
    evening[3] = evening[3].model_copy(update={"history": evening[2].history})
    cut = evening[4].model_dump(by_alias=True)
    evening[4] = Record.model_validate(cut | {"history": cut["history"][:3], "passes": 3, "steps": 30, "examples_seen": 231})
    for seed, status, cause in ((2, "diverged", "a loss of NaN"), (3, "failed", "out of memory"), (5, "interrupted", "stopped")):
        run = made("forward-forward", (seed, 0.5, 9.0, 3.0, 1.0, (0.2,)), 30 + seed, tuning_energy=searched(8, None))
        reasons = REASONS | dict.fromkeys(lost, cause)
        evening.append(Record.model_validate(run.model_dump(by_alias=True) | none | {"status": status, "reasons": reasons}))
    evening = [
        Record.model_validate(
            run.model_dump(by_alias=True)
            | {"environment_digest": "evening", "versions": VERSIONS | {"torch": "2.1", "bpfree code": "d1ce"}}
        )
        for run in evening
    ]
    best = tuned_params("backprop", *LARGE)
    tuned = {arm: tuned_entry(arm, *LARGE, energy=arm == "backprop") for arm in ("backprop", "mono-forward", "forward-forward")}
    values = [(0.001, 0.94), (0.0013, 0.95), (0.008, 0.945), (0.02, 0.5)]
    tried = [{"values": {"lr": lr}, "val_accuracy": accuracy, "seed": k, "passes": 4} for k, (lr, accuracy) in enumerate(values)]
    tried.append({"values": {"lr": 3.0}, "val_accuracy": 0.0, "seed": 9, "passes": 1, "diverged": True})
    tuned["backprop"] |= {"at_edge": ["lr"], "tried": tried, "n_validation": 400, "passes_per_trial": 4}
    tuned["backprop"] |= {"examples_per_trial": 300, "examples_per_run": 1200, "diverged_trials": 0}
    tuned["mono-forward"] |= {"best": {"lr": 0.0123456789, "weight_decay": best["weight_decay"]}, "passes_per_trial": 5}
    tuned["mono-forward"] |= {"examples_per_trial": 1200, "examples_per_run": 1200, "joules": None}
    tuned["forward-forward"] |= {"passes_per_trial": 5, "examples_per_trial": 300, "examples_per_run": 1200, "diverged_trials": 3}
    morning = [
        Record.model_validate(run.model_dump(by_alias=True) | {"params": run.params | {"weight_decay": best["weight_decay"]}})
        for run in morning
    ]
    one = written(root / "morning", morning, rules, [tuned["backprop"], tuned["mono-forward"]], morning=MACHINE)
    two = written(root / "evening", evening, rules, [tuned["forward-forward"]], evening=FASTER)
    return _report([one, two], rules, root, {"digits": 0.85}, accept_other_code=True)


SPLIT = FIRST.with_changes(trials=0)


def splits(root: Path) -> str:
    """Seeds crossed with splits that were chosen, added after a look; nothing was searched; one arm has no energy in one run."""
    grid = {  # per cent by split, then seed
        "backprop": {0: (90, 92, 91), 4: (80, 84, 88)},
        "mono-forward": {0: (93, 94, 96), 4: (82, 87, 95)},
        "pepita": {0: (90, 92, 91), 4: (80, 84, 89)},
    }  # fmt: skip
    runs = []
    for arm, by_split in grid.items():
        for split, values in by_split.items():
            for seed, value in enumerate(values):
                time_s = {"backprop": 4.0, "mono-forward": 6.0, "pepita": 3.0}[arm] * (1 + seed) * (1 + split)
                joules = None if (arm, split, seed) == ("pepita", 4, 2) else 10 * time_s
                run = (seed, value / 100, time_s, joules, 2 * time_s, SHORT if seed < 2 else LATE)
                planned = [0, 1] if seed < 2 else [0, 1, 2]
                losses = with_loss(record(SPLIT, LARGE, arm, run), 1 + split + 0.1 * seed)
                runs.append(
                    of(
                        arm, run, 5 * seed, SPLIT, history=losses, split_seed=split, split=f"split {split}",
                        data_digest=f"data {split}",
                        plan={"arms": list(grid), "seeds": planned, "command": f"run {len(planned)} seeds"},
                        started_at=f"2026-01-0{2 + seed}T10:00:00+00:00",
                    )
                )  # fmt: skip
    return _report([written(root / "splits", runs, SPLIT)], SPLIT, root)


SCALED = QUICK.with_changes(trials=4, comparable=False).scaled(0.5)


def alone(root: Path) -> str:
    """One seed of two arms under unequal, scaled rules: several phases, cached features, orthogonalisation, timelines."""
    runs = []
    for k, arm in enumerate(("forward-forward", "mono-forward")):
        run: Any = (2, 0.9 + 0.01 * k, 5400.0 + 1800 * k, None, 0.0, (0.5, 0.7, 0.6 + 0.05 * k))
        one = of(arm, run, k, SCALED, ("mnist", "mlp:2x8"), tuning_energy=searched(2, 5.0))
        assert one.flops is not None
        assert one.memory is not None
        changes: dict[str, Any] = {
            "plan": {"phases": {"blocks": 2, "head": None}, "arms": ["forward-forward", "mono-forward"], "seeds": [2]},
            "history": [
                entry.model_dump() | {"phase": index, "train_loss": 3.0 + k - index, "val_loss": 0.5 - index / 10}
                for index, entry in zip((0, 0, 1), one.history, strict=True)
            ],
            "stops": [{"phase": 0, "reason": "itself", "passes": 2}, {"phase": 1, "reason": "cap", "passes": 1}],
        }
        if k:
            changes |= {
                "flops": one.flops.model_dump() | {"orthogonalisation": 3_000_000, "method": "counted; done every 8 steps"},
                "memory": one.memory.model_dump() | {"feature_cache": 5 * MIB},
                "tuning_energy": None,
            }
        runs.append(Record.model_validate(one.model_dump(by_alias=True) | changes))
    path = written(root / "alone", runs, SCALED)
    (path / "timelines").mkdir()
    for k, run_ in enumerate(runs):
        header = {"arm": run_.arm, "dataset": run_.dataset, "net": run_.net, "seed": 2}
        if k:
            header["origin"] = "replayed from a file, not measured"
        samples = [
            {"time_s": j / 10, "clock_mhz": 1000 + 100 * (j % 3) + k, "power_w": 50.0 + j, "utilisation": 0.5}
            for j in range(20 + k)
        ]
        lines = [json.dumps(each) for each in (header, *samples)]
        (path / "timelines" / f"{k}.jsonl").write_text("\n".join(lines) + "\n")
    return _report([path], SCALED, root)


def old(root: Path) -> str:
    """Records of version 1 from a GPU, whose phases ended as their histories say; one arm had no search, another names a rate."""
    runs = []
    kept = (
        "steps",
        "examples_seen",
        "cpu_s",
        "other_load",
        "n_test",
        "correct",
        "evaluation_peak_bytes",
        "data_digest",
        "code_digest",
    )
    for k, arm in enumerate(("backprop", "mono-forward:lr=0.5")):
        for seed in range(3):
            name, _, variant = arm.partition(":")
            run = of(name, (seed, 0.8 + 0.05 * k + 0.01 * seed**2, 10.0 + 5 * k, 100.0, 50.0, SHORT), 5 * seed + k, FIRST)
            assert run.flops is not None
            changes = dict.fromkeys(kept) | {
                "schema": 1, "arm": arm, "variant": variant, "stops": [], "tuning_energy": None if k else searched(8),
                "plan": {
                    "phases": {"all blocks": None}, "device": "cuda", "seeds": [0, 1, 2],
                    "arms": ["backprop", "mono-forward:lr=0.5"],
                },
                "flops": run.flops.model_dump() | {"run_total": None, "mean_step": None},
            }  # fmt: skip
            runs.append(Record.model_validate(run.model_dump(by_alias=True) | changes))
    return _report([written(root / "old", runs, FIRST)], FIRST, root)


LONG = CLAIM.with_changes(max_passes=150, patience=130)


def long(root: Path) -> str:
    """Two data sets with estimated energies and lines of more points than are drawn; five studies that leave it open."""
    shifts = {"backprop": (0, 0, 0, 0, 0), "mono-forward": (12, -4, 10, -6, 8), "pepita": (-2, -40, -10, -60, -30)}
    runs = []
    for task in (LARGE, OTHER):
        for arm, points in shifts.items():
            if (task, arm) == (OTHER, "pepita"):
                continue
            for study, shift in enumerate(points):
                passes = 131 if arm == "backprop" else 140
                curve = tuple(0.9 if k == passes - 131 else 0.5 + 0.001 * k for k in range(passes))
                cost = {"backprop": 400.0, "mono-forward": 700.0, "pepita": 5000.0}[arm] * (1 + study) * (1 + (task == OTHER))
                accuracy = 0.91 + 0.01 * study + 0.001 * shift
                run = record(LONG, LARGE, arm, (study, accuracy, cost, 300 * cost, 100 * cost, curve))
                energy = run.energy.model_dump() | ESTIMATED
                plan = {"arms": ["backprop", "mono-forward"], "studies": [0, 1, 2, 3, 4], "command": "run"}
                changes = {"dataset": task[0], "energy": energy, "study": study, "plan": plan}
                changes |= {"correct": None, "n_test": None}
                changes["reasons"] = REASONS | dict.fromkeys(("correct", "n_test"), "not stored")
                runs.append(pinned(run, 100 * study + 7 * len(runs), **changes))
    return _report([written(root / "long", runs, LONG)], LONG, root)


def lost(root: Path) -> str:
    """Arms of which no run finished, one of them the baseline of a data set; a baseline that fixes what the other arms search."""
    runs = []
    nothing = dict.fromkeys(("test_accuracy", "val_accuracy"))
    fixed = {"backprop:lr=0.5": ["lr", "momentum"], "pepita": ["momentum"], "forward-forward": ["momentum"]}
    plan = {"arms": ["backprop:lr=0.5", "forward-forward", "pepita"], "seeds": [0, 1], "target": 0.8, "command": "run"}
    for task in (LARGE, OTHER):
        for k, (arm, names) in enumerate(fixed.items()):
            for seed in range(2):
                name, _, variant = arm.partition(":")
                run = of(
                    name, (seed, 0.8 + 0.05 * k + 0.01 * seed, 10.0 + 5 * k + seed, None, 0.0, SHORT), 5 * seed + k, SPLIT, LARGE
                )
                changes: dict[str, Any] = {
                    "arm": arm, "variant": variant, "unequal_search": names, "dataset": task[0],
                    "tuning_energy": None, "plan": plan,
                    "params": {"lr": 0.5 + 0.25 * (seed and name == "pepita"), "momentum": 0.9},
                }  # fmt: skip
                if name == "forward-forward" or (task == OTHER and name == "backprop"):
                    status = "diverged" if seed else "failed"
                    empty = {"history": []} if seed else {}
                    changes |= (
                        nothing | empty | {"status": status, "reasons": run.reasons | dict.fromkeys((*nothing, "status"), "lost")}
                    )
                runs.append(Record.model_validate(run.model_dump(by_alias=True) | changes))
    return _report([written(root / "lost", runs, SPLIT, other=FASTER)], SPLIT, root)


CASES: Mapping[str, Callable[[Path], str]] = {
    each.__name__: each for each in (first, claim, troubles, splits, alone, old, long, lost, suite, rehearsal)
}
"""By the name of the file in ``pages/``; each writes a report below a folder and gives its text."""
