"""``synthetic``: Gaussian inputs, labelled by a random teacher network. Any size, for tests of scaling.

``synthetic:n=5000:inputs=64:classes=10:hidden=32:seed=0``; inputs may be an image, ``inputs=3x32x32``. x ~ N(0, 1); the label is
the largest of the scores z = V tanh(U x), each score standardised over the set, so that the classes are nearly balanced. U is
(hidden, inputs) with entries N(0, 1/inputs), V is (classes, hidden) N(0, 1/hidden). There is no label noise, so the best possible
accuracy is 1.
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass

import numpy as np
import torch

from bpfree.data.dataset import Dataset
from bpfree.data.splits import check_seed, digest, stratified_shares, stratified_split
from bpfree.data.stored import Examples
from bpfree.errors import DataError, UsageError, unknown_name
from bpfree.rulesets import Split, standard_split
from bpfree.text import key_values

__all__ = ["Synthetic", "load_synthetic", "parse_synthetic"]


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    """What to make.

    Attributes:
        n: examples in all, split 70/15/15 by class.
        inputs: shape of one example, (features,) or (channels, height, width).
        classes: number of labels.
        hidden: width of the teacher; wider is harder to learn.
        seed: of inputs and teacher.
    """

    n: int = 5000
    inputs: tuple[int, ...] = (64,)
    classes: int = 10
    hidden: int = 32
    seed: int = 0

    def __str__(self) -> str:
        shape = "x".join(map(str, self.inputs))
        size = f"n={self.n}:inputs={shape}:classes={self.classes}"
        return f"synthetic:{size}:hidden={self.hidden}:seed={self.seed}"


_FIELDS = tuple(field.name for field in dataclasses.fields(Synthetic))


def parse_synthetic(options: str) -> Synthetic:
    """Read ``"n=5000:inputs=64"``, the options after ``synthetic:``; an option that is left out has its default.

    Raises:
        UsageError: an option is unknown or its value is not a positive whole number (``seed`` from 0, ``classes`` from 2;
            ``inputs`` may be CxHxW).
    """
    values: dict[str, int | tuple[int, ...]] = {}
    pieces = filter(None, options.split(":"))
    for key, text in key_values(pieces, form="synthetic:n=5000:inputs=64", where=f"synthetic:{options}").items():
        if key not in _FIELDS:
            raise unknown_name("option of synthetic", key, _FIELDS)
        parts = text.split("x") if key == "inputs" else [text]
        least = {"seed": 0, "classes": 2}.get(key, 1)
        if len(parts) not in (1, 3) or not all(re.fullmatch(r"[0-9]+", p) and int(p) >= least for p in parts):
            also = " or CxHxW" if key == "inputs" else ""
            raise UsageError(f"synthetic: {key} must be a whole number from {least}{also}, got {text!r}")
        values[key] = tuple(map(int, parts)) if key == "inputs" else int(text)
    return Synthetic(**values)  # type: ignore[arg-type]  # checked by name above; the types differ by field


def load_synthetic(spec: Synthetic, split_seed: int = 0, split: Split | None = None) -> Dataset:
    """Make the set; the same arguments give the same set.

    Raises:
        DataError: ``n`` is too small for every class to have three examples.
    """
    random = np.random.RandomState(check_seed(spec.seed))
    width = math.prod(spec.inputs)
    first = random.standard_normal((spec.hidden, width)) / math.sqrt(width)
    second = random.standard_normal((spec.classes, spec.hidden)) / math.sqrt(spec.hidden)
    x = random.standard_normal((spec.n, width)).astype(np.float32)
    # In float64, so that no label depends on how a machine rounds its matrix products.
    scores = np.tanh(x.astype(np.float64) @ first.T) @ second.T
    scores = (scores - scores.mean(axis=0)) / np.maximum(scores.std(axis=0), 1e-12)
    y = scores.argmax(axis=1).astype(np.int64)
    if np.bincount(y, minlength=spec.classes).min() < 3:
        raise DataError(
            f"{spec}: {spec.n} examples are too few for {spec.classes} classes (each needs 3); raise n, say to "
            f"n={50 * spec.classes}"
        )
    shares = stratified_shares(split or standard_split("synthetic"), name=str(spec))
    indices = stratified_split(y, shares, split_seed, name=str(spec))
    x = x.reshape(spec.n, *spec.inputs)
    return Dataset(
        name=str(spec),
        n_classes=spec.classes,
        in_shape=spec.inputs,
        split_digest=digest(str(spec), y, *indices.values()),
        note="synthetic: labels of a random teacher network. It shows scaling, not learning of real data.",
        splits={k: Examples(torch.from_numpy(x[i]), torch.from_numpy(y[i])) for k, i in indices.items()},
    )
