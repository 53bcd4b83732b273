"""An arm: one competitor of a comparison, ``name`` or ``name:key=value:key=value``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bpfree.algorithms import BEST_PREFIX, Algorithm, Value, make
from bpfree.errors import RulesetError, UsageError
from bpfree.rulesets import Ruleset
from bpfree.text import key_values

__all__ = ["Arm", "parse_arms", "with_control"]


CONTROL = "#control"
"""Ends the label of an arm that is run a second time, to see how far two equal arms lie apart."""


@dataclass(frozen=True)
class Arm:
    """A rule with some hyper-parameters fixed; the rest is tuned.

    Attributes:
        label: as written, and in every record.
        algorithm: registered name.
        fixed: hyper-parameters that the arm fixes, as text.
        control: a repetition of an arm with other draws, under a label of its own.
    """

    label: str
    algorithm: str
    fixed: Mapping[str, str]
    control: bool = False

    @classmethod
    def parse(cls, text: str) -> Arm:
        """Read ``name:key=value:key=value``, and check it by building the rule once.

        Raises:
            UsageError: unknown rule or hyper-parameter, a value out of range, or something that is no key=value.
        """
        name, *pairs = text.strip().split(":")
        fixed = key_values(pairs, form="name:key=value:key=value", where=f"the arm {text!r}")
        arm = cls(text.strip(), name, fixed)
        arm.build({})
        return arm

    @property
    def plain(self) -> str:
        """The arm as rulesets name it: the label, less what marks a control."""
        return self.label.removesuffix(CONTROL)

    def as_control(self) -> Arm:
        """The same once more: other seeds, other points, the same rules."""
        return replace(self, label=self.plain + CONTROL, control=True)

    @property
    def variant(self) -> str:
        """What tells this arm from the plain rule, such as ``"schedule=staged"``; empty for the plain rule."""
        return ":".join(f"{key}={value}" for key, value in self.fixed.items())

    def build(self, tuned: Mapping[str, Value]) -> Algorithm:
        """The rule with the tuned values; what the arm fixes has the last word."""
        return make(self.algorithm, {**tuned, **self.fixed})

    def under(self, rules: Ruleset) -> Arm:
        """The arm as the ruleset has it: with its readout chosen on validation where that is the rule and the arm can.

        A rule that reads out in one way only stays as it is; the report names it.

        Raises:
            RulesetError: the ruleset chooses the readout, and the arm has fixed another.
        """
        if rules.readout != "best-prefix-on-validation":
            return self
        if self.fixed.get("readout", BEST_PREFIX) != BEST_PREFIX:
            raise RulesetError(
                f"ruleset {rules.name} chooses the readout on validation for every arm that can, but {self.label} fixes "
                f"readout={self.fixed['readout']}; leave that out, or use a ruleset with readout: as-the-arm-says"
            )
        chosen = replace(self, fixed={**self.fixed, "readout": BEST_PREFIX})
        try:
            chosen.build({})
        except UsageError:
            return self
        return chosen


def parse_arms(text: str) -> tuple[Arm, ...]:
    """Read a comma-separated list of arms.

    Raises:
        UsageError: an empty list, the same arm twice, or an arm that cannot be read.
    """
    words = [word for word in text.split(",") if word.strip()]
    if not words:
        raise UsageError("no arm was given; write --arms backprop,mono-forward")
    arms = tuple(Arm.parse(word) for word in words)
    labels = [arm.label for arm in arms]
    for label in labels:
        if labels.count(label) > 1:
            raise UsageError(f"the arm {label!r} is listed {labels.count(label)} times; list it once")
    return arms


def with_control(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """The arms, and the baseline once more: plain backprop, or the first arm of backprop, or the first arm."""
    ranked = sorted(arms, key=lambda arm: (arm.label != "backprop", arm.algorithm != "backprop"))
    return (*arms, ranked[0].as_control())
