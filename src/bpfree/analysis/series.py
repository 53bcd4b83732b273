"""An analysis over training as a file: written after every look, and resumed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpfree.algorithms import Algorithm, check_net
from bpfree.analysis._document import document_of
from bpfree.analysis.alignment import alignment_over_training
from bpfree.analysis.orthogonality import orthogonality_over_training
from bpfree.data import Dataset
from bpfree.errors import UsageError
from bpfree.files import locked, remove_parts, write_atomic, writing
from bpfree.nets import Chain
from bpfree.train import Patience, past

__all__ = ["KINDS", "SeriesPlan", "record_series"]

KINDS = ("alignment", "orthogonality")
"""What can be looked at."""

Point = dict[str, Any]
_UNDEFINED = "the update or the gradient of the block is zero, or it has no matrix"


@dataclass(frozen=True, kw_only=True)
class SeriesPlan:
    """How a rule is trained and looked at.

    Attributes:
        max_passes: all of them are made: nothing stops early, and no best state is restored.
        every: passes between two looks.
        batch_size: of the training.
        n_examples: of the validation split, for the alignment.

    Raises:
        UsageError: a number out of range.
    """

    max_passes: int
    every: int = 1
    batch_size: int = 64
    n_examples: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("max_passes", 1), ("every", 1), ("batch_size", 1), ("n_examples", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}, got {getattr(self, name)}")

    def looks(self) -> set[int]:
        """The numbers of passes at which is looked."""
        return {0, *range(self.every, self.max_passes, self.every), self.max_passes}


def record_series(
    kind: str,
    rule: Algorithm,
    net: Chain,
    data: Dataset,
    plan: SeriesPlan,
    directory: Path,
    identity: dict[str, Any],
    *,
    facts: dict[str, Any] | None = None,
    on_point: Callable[[Point], None] = lambda _: None,
) -> dict[str, Any]:
    """Look at ``rule`` on ``net`` over training; everything lies in ``directory/KIND.json``, rewritten after each look.

    A second call with the same arguments resumes where the first was stopped, or reads the finished file.

    Args:
        kind: of :data:`KINDS`.
        identity: JSON values that say what is analysed (arm, net, data); with the plan they must agree with what lies there.
        facts: JSON values that are written down and not compared (command, versions).
        on_point: called with each look.

    Returns:
        The document: the identity, the plan, ``points`` (each with ``passes`` and a list for every quantity, a number or
        None for each block and then the output), ``reasons`` of the None, ``complete``: there is nothing left to do.

    Raises:
        RunDirectoryError: the directory holds another analysis, or is in use.
        StorageError: it cannot be written.
        UsageError: a rule that cannot train the net.
    """
    check_net(rule, net)
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    path, checkpoint = directory / f"{kind}.json", directory / f"{kind}.safetensors"
    head = {"kind": kind, **identity, **vars(plan), "parts": [*(block.title for block in net), "output"]}
    with locked(directory / ".lock"):
        remove_parts(directory)
        document = document_of(path, head, {**(facts or {}), "points": [], "complete": False, "reasons": {}})
        points: list[Point] = document["points"]
        if document["complete"]:
            return document
        if not _goes_on(checkpoint, points, plan):
            checkpoint.unlink(missing_ok=True)
            points.clear()
        for point in _points(kind, rule, net, data, plan, checkpoint, known=[point["passes"] for point in points]):
            points.append(point)
            write_atomic(path, _text(document))
            on_point(point)
        document["complete"] = True
        if {point["passes"] for point in points} != plan.looks():
            document["reasons"]["passes"] = "fewer than asked: training diverged, or the rule had nothing more to do"
        if any(value is None for point in points for values in point.values() if isinstance(values, list) for value in values):
            document["reasons"]["points"] = f"null: {_UNDEFINED}"
        write_atomic(path, _text(document))
        checkpoint.unlink(missing_ok=True)
    return document


def _points(
    kind: str, rule: Algorithm, net: Chain, data: Dataset, plan: SeriesPlan, checkpoint: Path, known: list[int]
) -> Iterator[Point]:
    stop = Patience(None, max_passes=plan.max_passes, restore_best=False)
    options = {
        "every": plan.every,
        "known": known,
        "seed": plan.seed,
        "batch_size": plan.batch_size,
        "checkpoint": checkpoint,
    }
    if kind == "alignment":
        for seen in alignment_over_training(rule, net, data, stop, n_examples=plan.n_examples, **options):
            yield {"passes": seen.passes, "cosine": _known(seen.cosine), "norm_ratio": _known(seen.norm_ratio)}
    else:
        for passes, defects in orthogonality_over_training(rule, net, data, stop, **options):
            yield {"passes": passes, "defect": _known(defects)}


def _known(values: tuple[float, ...]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _goes_on(checkpoint: Path, points: list[Point], plan: SeriesPlan) -> bool:
    """Whether nothing was missed between the last look and the checkpoint (a process may die between the two)."""
    passed = len(past(checkpoint))
    return {passes for passes in plan.looks() if passes <= passed} == {point["passes"] for point in points}


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1) + "\n"
