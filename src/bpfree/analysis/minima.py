"""Trained models as minima: their names, what they must have in common, their common start, and which are compared with which."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bpfree import nets
from bpfree.algorithms import NotOrthogonalWarning, params
from bpfree.data import Dataset
from bpfree.errors import DataError, UsageError
from bpfree.models import Model, load
from bpfree.train import initialise

__all__ = ["Minimum", "check_together", "line_pairs", "read_minima", "redrawn", "together"]


@dataclass(frozen=True)
class Minimum:
    """A trained model with a name.

    Attributes:
        label: the rule with those of its settings that tell it from its defaults and from the other models.
        seed: of its training, None where the file does not say.
        file: as it was given.
        digest: sha256 of the file.
    """

    model: Model = field(repr=False)
    label: str
    seed: int | None
    file: str
    digest: str

    @property
    def name(self) -> str:
        """Label and seed."""
        return self.label if self.seed is None else f"{self.label}, seed {self.seed}"

    @property
    def descends(self) -> bool:
        """Whether the rule's gradient path leads through the whole net, so that it may follow this loss."""
        traits = self.model.algorithm.traits(self.model.net)
        return not traits.local and traits.gradient_path > len(self.model.net)

    def facts(self) -> dict[str, Any]:
        """JSON values that say which model it is."""
        return {
            "name": self.name,
            "label": self.label,
            "seed": self.seed,
            "file": self.file,
            "digest": self.digest,
            "params": params(self.model.algorithm),
            "val_accuracy": self.model.header and self.model.header.val_accuracy,
            "descends": self.descends,
        }


def read_minima(paths: Sequence[Path], device: torch.device | str = "cpu") -> list[Minimum]:
    """Load models and name them.

    Raises:
        DataError: a file is no model.
        UsageError: no file, a file given twice, or two models of one rule with one seed.
    """
    if not paths:
        raise UsageError("a landscape needs at least one model; give the model.safetensors that bpfree train wrote")
    loaded = [load(path, device=device) for path in paths]
    minima = []
    for path, model, label in zip(paths, loaded, _labels(loaded), strict=True):
        seed = model.header.seed if model.header else None
        minima.append(Minimum(model, label, seed, str(path), hashlib.sha256(path.read_bytes()).hexdigest()))
    by_name: dict[str, Minimum] = {}
    for minimum in minima:
        other = by_name.setdefault(minimum.name, minimum)
        if other is not minimum and minimum.seed is None:
            raise UsageError(
                f"{other.file} and {minimum.file} are both {minimum.name}, and do not say the seed of their training (earlier "
                "versions did not write it); train one of them again with bpfree train, or leave it out"
            )
        if other is not minimum:
            raise UsageError(f"{other.file} and {minimum.file} are both {minimum.name}; give models of other seeds or rules")
    return minima


def _labels(models: Sequence[Model]) -> list[str]:
    """``name:key=value`` with the values that are not the default; numbers only where models of one rule differ in them."""
    labels = []
    for model in models:
        rule = model.algorithm
        defaults = {f.name: f.default for f in dataclasses.fields(type(rule))}
        rivals = [params(other.algorithm) for other in models if other.algorithm.name == rule.name]
        parts = [rule.name]
        for key, value in params(rule).items():
            differs = any(rival[key] != value for rival in rivals)
            if value != defaults[key] and (differs or not isinstance(value, float)):
                parts.append(f"{key}={value:g}" if isinstance(value, float) else f"{key}={str(value).lower()}")
        labels.append(":".join(parts))
    return labels


def check_together(minima: Sequence[Minimum], data: Dataset | None = None) -> None:
    """Refuse models that have no landscape in common: of different nets, data or splits, or of others than the data given.

    Raises:
        DataError: naming both files and both values.
    """
    first = minima[0]
    for minimum in minima:
        header, expected = minimum.model.header, first.model.header
        if header is None or header.split_digest is None or expected is None:
            raise DataError(f"{minimum.file} does not say which split it was trained on; train it with bpfree train --out DIR")
        for what, got, wanted in (
            ("nets", header.net, expected.net),
            ("data", header.dataset, expected.dataset),
            ("splits", header.split_digest[:12], (expected.split_digest or "")[:12]),
            ("number formats", header.dtype, expected.dtype),
        ):
            if got != wanted:
                raise DataError(
                    f"a landscape needs models of one net and one split, but their {what} differ: {first.file} has {wanted}, "
                    f"{minimum.file} has {got}; leave one of them out"
                )
    header = first.model.header
    if data is not None and header is not None and header.split_digest != data.split_digest:
        raise DataError(
            f"{first.file} was trained on {header.dataset}, split {str(header.split_digest)[:12]}, but the data given are "
            f"{data.name}, split {data.split_digest[:12]}; give --dataset, --data-dir, --ruleset and --split-seed of its training"
        )


def redrawn(minimum: Minimum) -> Model | None:
    """The model as it was before training, drawn again from its seed; None where the seed or the net is not recorded."""
    header = minimum.model.header
    if header is None or header.net is None or minimum.seed is None:
        return None
    net = nets.build(header.net, header.in_shape, header.n_classes).to(getattr(torch, header.dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotOrthogonalWarning)  # the warning was given when the model was trained
        state = initialise(minimum.model.algorithm, net, minimum.seed, minimum.model.net.device)
    net.eval()
    return dataclasses.replace(minimum.model, net=net, state=state)


def together(minima: Sequence[Minimum]) -> dict[str, dict[int, Minimum]]:
    """Minima by label and seed; the first label is the baseline. Those without a seed are left out."""
    table: dict[str, dict[int, Minimum]] = {}
    for minimum in minima:
        if minimum.seed is not None:
            table.setdefault(minimum.label, {})[minimum.seed] = minimum
    return table


Pair = tuple[str, Minimum, Minimum]
"""What the pair is for, and its two minima."""


def line_pairs(minima: Sequence[Minimum]) -> list[Pair]:
    """The pairs between which a line is drawn.

    ``"same start"``: the baseline (the label of the first model) and each rival at every common seed. ``"other start"``: the
    baseline at a seed and every label, its own included, at the next of the common seeds; the baseline's own are the yardstick,
    since any two runs of one rule differ so far. Two models of any kind are a pair.
    """
    if len(minima) == 2:
        first, second = minima
        return [("same start" if first.seed == second.seed and first.seed is not None else "other start", first, second)]
    table = together(minima)
    baseline = table.get(minima[0].label, {})
    pairs: list[Pair] = []
    for label, rivals in table.items():
        if label != minima[0].label:
            pairs += [("same start", baseline[seed], rivals[seed]) for seed in baseline if seed in rivals]
        common = [seed for seed in baseline if seed in rivals]
        for seed, following in _next(common):
            pairs.append(("other start", baseline[seed], rivals[following]))
    return pairs


def _next(seeds: Sequence[int]) -> list[tuple[int, int]]:
    """Each seed with the next, the last with the first; of two seeds one pair, since its reverse is the same line."""
    pairs = list(zip(seeds, [*seeds[1:], *seeds[:1]], strict=True))
    return pairs[:1] if len(seeds) == 2 else pairs if len(seeds) > 2 else []
