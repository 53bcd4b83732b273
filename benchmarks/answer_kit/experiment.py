"""Section 3: experiment 1 (``benchmarks/rulesets/cifar10-mlp-3x2000.yaml``) by the machinery of ``bpfree compare``.

Seeds outside, arms inside: after every seed there is one more pair. The runs are in ``experiment-DIGEST/``, a run directory that
``bpfree report`` reads. A run that the end of the time cuts is recorded as interrupted, and made again by the next call.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from bpfree.bench import ComparisonRun, RunDirectory, check_named, check_runnable, check_supported
from bpfree.bench.deadline import DeadlineObserver, TimeIsUp
from bpfree.cli.interrupt import raise_if_asked
from bpfree.records import Record

from .context import Context
from .ratios import mean, ratio
from .store import Section, digest, say

__all__ = ["run", "summary"]

_END_S = 1.0
"""For the end of a run that is cut: its record (s), at most."""


def run(context: Context, section: Section, given_s: float) -> str | None:
    """Go on with the comparison until it is complete or the time is used up; says why it is not complete."""
    until_s = time.monotonic() + given_s - min(_END_S, 0.1 * given_s)
    context.measure_idle()
    setting, arms = context.setting, context.arms
    check_supported(setting.ruleset, arms)
    check_named(setting.ruleset, arms)
    check_runnable(setting, arms)
    identity = {key: value for key, value in section.identity.items() if key != "seeds"}
    directory = RunDirectory(context.store.out / f"experiment-{digest(identity)}")
    section.data["directory"] = directory.path.name
    with directory.opened(setting.ruleset, setting.facts):
        observer = _Observer(until_s, section, directory, [arm.label for arm in arms])
        comparison = ComparisonRun(setting, arms, setting.ruleset.plan.seeds, directory, observer)
        try:
            comparison.run()
        except TimeIsUp:
            return "the time was used up"
        finally:
            observer.write()
    return comparison.interrupted[0] if comparison.interrupted else None


class _Observer(DeadlineObserver):
    """Ends in time, notices signals, and writes what is there after every run."""

    def __init__(self, until_s: float, section: Section, directory: RunDirectory, arms: Sequence[str]) -> None:
        known = {record.arm: record.time_s for record in directory.records() if record.time_s and record.status == "ok"}
        super().__init__(until_s, lasted_s=known, on_pass=raise_if_asked)
        self._section, self._directory, self._arms = section, directory, arms

    def end(self, line: str) -> None:
        """A search or a run is over."""
        say(f"experiment: {line}")
        super().end(line)
        self.write()

    def write(self) -> None:
        """Write the section."""
        records = self._directory.records()
        self._section.data |= {"runs": [_plain(record) for record in records], "summary": summary(records, self._arms)}
        self._section.save()


def _plain(record: Record) -> dict[str, Any]:
    """What of a record stands in the answer; the rest is in the run directory."""
    energy, flops = record.energy, record.flops
    reasons = {key: why for key, why in record.reasons.items() if key in ("status", "energy.joules", "energy.net_joules")}
    return {
        "arm": record.arm,
        "seed": record.seed,
        "status": record.status,
        "test_accuracy": record.test_accuracy,
        "val_accuracy": record.val_accuracy,
        "passes": record.passes,
        "time_s": record.time_s,
        "eval_time_s": record.eval_time_s,
        "joules": energy.joules,
        "net_joules": energy.net_joules,
        "method": energy.method,
        "macs": None if flops is None or flops.run_total is None else flops.run_total // 2,
        "peak_memory_bytes": record.peak_memory_bytes,
        "reasons": reasons,
    }


def summary(records: Sequence[Record], arms: Sequence[str]) -> list[dict[str, Any]]:
    """Means of each arm over the runs that ended well, and means of its differences and ratios to the first, paired by seed."""
    ok = {(record.arm, record.seed): _plain(record) for record in records if record.status == "ok"}
    rows = []
    for arm in arms:
        mine = {seed: run for (label, seed), run in ok.items() if label == arm}
        pairs = [(run, ok[arms[0], seed]) for seed, run in mine.items() if (arms[0], seed) in ok]
        differences = [run["test_accuracy"] - base["test_accuracy"] for run, base in pairs]
        row: dict[str, Any] = {"arm": arm, "runs": len(mine), "pairs": len(pairs)}
        row["test_accuracy"] = mean([run["test_accuracy"] for run in mine.values()])
        row["difference"] = mean(differences)
        for name in ("passes", "time_s", "joules", "net_joules", "macs"):
            row[name] = mean([run[name] for run in mine.values()])
            if name != "passes":
                row[f"{name}_ratio"] = mean([ratio(run[name], base[name]) for run, base in pairs])
        rows.append(row)
    return rows
