"""The three experiments: their rulesets, what is published of them, and where their records lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parents[1]
RESULTS = HERE / "results"

OWN, MATCHED = "own-convergence", "matched-passes"
"""Protocols of the paper: each rule to its own end, and as many passes as backprop took."""


@dataclass(frozen=True)
class Place:
    """Where a number of the paper stands: in a table of :mod:`bpfree.published`."""

    table: str
    algorithm: str
    variant: str = ""
    protocol: str = OWN


@dataclass(frozen=True)
class Experiment:
    """A table of the page for each place where it was run.

    Attributes:
        number: on the command line.
        name: of the ruleset, and of the directory of its results.
        target: validation accuracy (a fraction) up to which operations are counted.
        published: by arm, whose accuracy is held against the measured one.
        others: by arm, further numbers of the paper, whose differences and ratios to backprop are shown as well.
        beside: what must be known before a published number is held against a measured one.
        also, also_words, also_published: another ruleset that is run after it, for the published number alone, what it is, and
            that number by arm.
        results: the directory of all results.
    """

    number: int
    name: str
    title: str
    question: str
    target: float
    published: Mapping[str, Place]
    beside: str
    others: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)
    also: str | None = None
    also_words: str = ""
    also_published: Mapping[str, Place] = field(default_factory=dict)
    results: Path = RESULTS

    @property
    def rulesets(self) -> tuple[str, ...]:
        """Names of those that are run, in their order."""
        return (self.name,) if self.also is None else (self.name, self.also)

    def directories(self, name: str) -> tuple[Path, ...]:
        """Where records under a ruleset have been written."""
        places = (directory(self.results, name, "cuda"), directory(self.results, name, "cpu"))
        return tuple(place for place in places if (place / "records.jsonl").exists())

    def command(self, options: str = "") -> str:
        """What runs it."""
        return f"python benchmarks/experiments.py {self.number} {options}--data-dir DIR"


def rules(name: str) -> Path:
    """The ruleset's file."""
    return HERE / "rulesets" / f"{name}.yaml"


def directory(results: Path, name: str, device: str) -> Path:
    """Of records and report on a device: a run goes on on the device that it began on, and a pair is of one device."""
    return results / (name if device.startswith("cuda") else f"{name}-cpu")


EXPERIMENTS = (
    Experiment(
        1,
        "cifar10-mlp-3x2000",
        "CIFAR-10, three blocks of 2000: does training block by block cost accuracy, and what does it save?",
        "The paper has no detached joint Mono-Forward: what it calls "
        '"MF-Joint" back-propagates through the whole net (here `deep-supervision`). arXiv 2501.09238 v1 gives 56.99 % for it '
        "and 54.25 % for backprop on this net (no augmentation, tuned on the test split). Runs that end at the cap of 50 passes "
        "have not converged.",
        0.50,
        {
            "backprop": Place("spyra2026-ladder", "backprop"),
            "mono-forward:schedule=staged": Place("spyra2026-uniform", "mono-forward", "staged", MATCHED),
            "deep-supervision:aux_weight=9.506": Place("spyra2026-ladder", "deep-supervision", "mf-joint"),
            "deep-supervision:output=own:aux_weight=0.171": Place("spyra2026-ladder", "deep-supervision", "bp-ds"),
        },
        "The paper's cap is 100 passes for a run of backprop (52 in the mean) and for *each stage* of Mono-Forward (207 in all); "
        "here every arm has 50 in all. So the accuracy of staged Mono-Forward is compared with the paper's at matched "
        "passes, 52.",
        others={"mono-forward:schedule=staged": (Place("spyra2026-ladder", "mono-forward", "staged"),)},
        also="cifar10-mlp-3x2000-stage-cap",
        also_words="With the paper's cap, 100 passes for each stage",
        also_published={"mono-forward:schedule=staged": Place("spyra2026-ladder", "mono-forward", "staged")},
    ),
    Experiment(
        2,
        "mnist-mlp-4x2000",
        "MNIST, four blocks of 2000: Forward-Forward",
        "Forward-Forward against backprop and joint Mono-Forward on the same net, with at most 10 passes each.",
        0.97,
        {"forward-forward:weight_decay=3.1e-4": Place("spyra2026-differences", "forward-forward", "adamw")},
        "The paper's runs had up to 100 passes; here every arm has 10. It publishes the difference to backprop. Most of the "
        "memory of `frozen` is the features of all images, which are computed once.",
    ),
    Experiment(
        3,
        "cifar10-cnn3",
        "CIFAR-10, three convolution blocks: Cascaded-Forward",
        "Cascaded-Forward with random and with DFA-trained blocks against backprop and joint Mono-Forward on the same net, with "
        "at most 10 passes each.",
        0.60,
        {
            "backprop": Place("spyra2026-uniform", "backprop"),
            "cascaded-forward": Place("spyra2026-uniform", "cascaded-forward", "rand-ce"),
            "cascaded-forward:blocks=dfa": Place("spyra2026-uniform", "cascaded-forward", "dfa-ce"),
        },
        "The paper's phases had a cap each, of up to 1271 passes; here all phases of an arm share 10. Cascaded-Forward with "
        "random blocks trains read-outs of all blocks and no block; `frozen` trains one, of the last block. Where the two end "
        "level, the read-outs of the other blocks have added nothing.",
    ),
)
