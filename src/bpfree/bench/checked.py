"""From what was asked to arms and a setting that can be run: everything is refused before anything is written.

First :func:`arms_for`, before data are loaded; then the caller loads them; then :func:`checked`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bpfree.bench.arm import Arm, parse_arms, with_control
from bpfree.bench.declared import warn_of_not_searched, with_declared
from bpfree.bench.setting import Setting, check_runnable, check_supported
from bpfree.bench.spaces import check_named
from bpfree.rulesets import Ruleset
from bpfree.train import short_budget

__all__ = ["Checked", "arms_for", "checked"]


@dataclass(frozen=True)
class Checked:
    """A setting, and arms that can be run in it. Nothing has been written."""

    setting: Setting
    arms: tuple[Arm, ...]

    @property
    def dataset(self) -> str:
        """Name of the data set, without the folder where it is a file."""
        return Path(self.setting.data.name).name

    def short_budgets(self) -> Iterator[str]:
        """A sentence for each arm whose passes give too few steps to learn."""
        for arm in self.arms:
            under = self.setting.arm_rules(arm)
            short = short_budget(self.setting.data.n("train"), under.rules.batch_size, under.passes, self.dataset)
            if short is not None:
                yield short


def arms_for(rules: Ruleset, use: str, arms: Sequence[Arm] | None = None) -> tuple[Ruleset, tuple[Arm, ...]]:
    """The arms of a command, with the control of a comparison where the ruleset asks for one; and the ruleset with the search
    ranges that rules of other packages declare.

    Args:
        use: name of the command.
        arms: None for those of the ruleset's plan.

    Raises:
        BpfreeError: an arm that does not exist, or that cannot be run under these rules.
    """
    chosen = tuple(parse_arms(",".join(rules.plan.arms)) if arms is None else arms)
    if use == "compare" and rules.plan.control:
        chosen = with_control(chosen)
    rules = with_declared(rules, chosen)
    check_supported(rules, chosen)
    if use in ("compare", "tune"):
        check_named(rules, chosen)
        warn_of_not_searched(rules, chosen)
    return rules, chosen


def checked(setting: Setting, arms: tuple[Arm, ...], use: str, seeds: Sequence[int] | None = None) -> Checked:
    """Refuse what cannot be run, and complete the plan of the setting.

    Args:
        arms: of :func:`arms_for`.
        use: name of the command.
        seeds: of the measured runs, None for those of the ruleset's plan.

    Raises:
        BpfreeError: an arm that cannot be trained on this net and data.
    """
    rules = setting.ruleset
    check_runnable(setting, arms, searched=use != "train")
    setting.plan["arms"] = [arm.label for arm in arms]
    if use == "compare" and rules.search.studies > 1:
        setting.plan["studies"] = list(range(rules.search.studies))
    else:
        setting.plan["seeds"] = list(rules.plan.seeds if seeds is None else seeds)
    return Checked(setting, arms)
