"""A suite cut down to the data sets, arms, seeds and hours that were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bpfree.bench.reproduce import Line, Reproduction
from bpfree.bench.suites import Suite
from bpfree.errors import UsageError, unknown_name

__all__ = ["choose"]


def choose(
    suite: Suite,
    *,
    scale: float = 1.0,
    dataset_names: Sequence[str] = (),
    arms: Sequence[str] = (),
    n_seeds: int | None = None,
    max_hours: float | None = None,
) -> Reproduction:
    """A suite cut down to what was asked, under its rulesets with the options folded in.

    Args:
        scale: multiplies training examples, trials and passes (and validation and test examples), each at least 1.
        dataset_names: keep the rows on these; empty keeps all.
        arms: keep these arms, or all arms of these rules; empty keeps all.
        n_seeds: seeds 0 to N - 1 instead of the ruleset's.
        max_hours: cap on the wall time of a run.

    Raises:
        UnknownNameError: a data set or arm that is not in the suite.
        RulesetError: an option out of range.
    """
    _only_known(f"data set of suite {suite.name}", dataset_names, suite.datasets)
    by_rule = {arm.partition(":")[0] for arm in suite.arms}
    _only_known(f"arm of suite {suite.name}", arms, {*suite.arms, *by_rule})
    if n_seeds is not None and n_seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {n_seeds}")
    changes: Mapping[str, Any] = {
        **({} if n_seeds is None else {"seeds": n_seeds}),
        **({} if max_hours is None else {"max_hours": max_hours}),
    }
    lines = [
        Line(section, row if scale == 1.0 else row.for_rehearsal(), section.number(row), row.not_run)
        for section in suite.sections
        for row in section.rows
        if (not dataset_names or row.dataset in dataset_names) and (not arms or row.arm in arms or row.algorithm in arms)
    ]
    if not lines:
        raise UsageError(
            f"suite {suite.name} has no row with these data sets and arms; see: bpfree reproduce {suite.name} --list"
        )
    keys = dict.fromkeys(line.section.ruleset for line in lines)
    rules = {key: suite.rulesets[key].load().scaled(scale) for key in keys}
    return Reproduction(
        suite, scale, {key: r.with_changes(changes) if changes else r for key, r in rules.items()}, lines, tuple(arms)
    )


def _only_known(kind: str, asked: Sequence[str], known: Sequence[str] | set[str]) -> None:
    for name in asked:
        if name not in known:
            raise unknown_name(kind, name, known)
