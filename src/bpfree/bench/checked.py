"""From what was asked to arms and a setting that can be run: everything is refused before anything is written."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bpfree.bench.arm import Arm, parse_arms, with_control
from bpfree.bench.declared import warn_of_not_searched, with_declared
from bpfree.bench.setting import Setting, check_runnable, check_supported
from bpfree.bench.spaces import check_named
from bpfree.rulesets import Ruleset
from bpfree.train import ShortBudgetWarning, short_budget

__all__ = ["Checked", "checked"]


@dataclass(frozen=True)
class Checked:
    """A setting, and arms that can be run in it. Nothing has been written."""

    setting: Setting
    arms: tuple[Arm, ...]

    @property
    def dataset(self) -> str:
        """Name of the data set, without the folder where it is a file."""
        return Path(self.setting.data.name).name

    def warn_of_short_budgets(self) -> None:
        """Warn of arms whose passes give too few steps to learn."""
        for arm in self.arms:
            under = self.setting.arm_rules(arm)
            short = short_budget(self.setting.data.n("train"), under.rules.batch_size, under.passes, self.dataset)
            if short is not None:
                warnings.warn(short, ShortBudgetWarning, stacklevel=3)  # the command line prints equal lines once


def checked(
    rules: Ruleset,
    use: str,
    setting_of: Callable[[Ruleset], Setting],
    arms: Sequence[Arm] | None = None,
    seeds: Sequence[int] | None = None,
) -> Checked:
    """Load what was asked for, and refuse what cannot be run.

    Args:
        use: name of the command.
        setting_of: loads data and net.
        arms: None for those of the ruleset's plan.
        seeds: of the measured runs, None for those of the ruleset's plan.

    Raises:
        BpfreeError: a ruleset, data, net, device or country that cannot be used, or an arm that cannot be trained so.
    """
    chosen = tuple(parse_arms(",".join(rules.plan.arms)) if arms is None else arms)
    if use == "compare" and rules.plan.control:
        chosen = with_control(chosen)
    rules = with_declared(rules, chosen)
    check_supported(rules, chosen)  # before data are loaded
    if use in ("compare", "tune"):
        check_named(rules, chosen)
        warn_of_not_searched(rules, chosen)
    setting = setting_of(rules)
    check_runnable(setting, chosen, searched=use != "train")
    setting.plan["arms"] = [arm.label for arm in chosen]
    if use == "compare" and rules.search.studies > 1:
        setting.plan["studies"] = list(range(rules.search.studies))
    else:
        setting.plan["seeds"] = list(rules.plan.seeds if seeds is None else seeds)
    return Checked(setting, chosen)
