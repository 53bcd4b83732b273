"""An arm: one competitor of a comparison, ``name`` or ``name:key=value:key=value``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bpfree.algorithms import BEST_PREFIX, Algorithm, Value, make
from bpfree.errors import RulesetError, UsageError
from bpfree.rulesets import Ruleset

__all__ = ["Arm", "parse_arms"]


@dataclass(frozen=True)
class Arm:
    """A rule with some hyper-parameters fixed; the rest is tuned.

    Attributes:
        label: as written, and in every record.
        algorithm: registered name.
        fixed: hyper-parameters that the arm fixes, as text.
    """

    label: str
    algorithm: str
    fixed: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Arm:
        """Read ``name:key=value:key=value``, and check it by building the rule once.

        Raises:
            UsageError: unknown rule or hyper-parameter, a value out of range, or something that is no key=value.
        """
        name, *pairs = text.strip().split(":")
        fixed: dict[str, str] = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not equals or not key:
                raise UsageError(f"cannot read {pair!r} in the arm {text!r}; write name:key=value:key=value")
            fixed[key] = value
        arm = cls(text.strip(), name, fixed)
        arm.build({})
        return arm

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
