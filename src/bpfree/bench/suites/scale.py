"""What a suite makes of its data: one split, and fewer examples in a scaled rehearsal.

A rehearsal shows that everything runs, never what an arm is worth.
"""

from __future__ import annotations

import dataclasses

import torch

from bpfree.data import Dataset
from bpfree.data.splits import digest, stratified_order
from bpfree.errors import RulesetError
from bpfree.rulesets import Ruleset

__all__ = ["n_scaled", "scaled_data", "split_seed"]


def n_scaled(n: int, scale: float, n_classes: int, least: int = 1) -> int:
    """How many of ``n`` examples are left: at least one per class, and at least ``least`` (a batch)."""
    return min(n, max(n_classes, least, round(n * scale)))


def scaled_data(data: Dataset, rules: Ruleset, batch_size: int) -> Dataset:
    """The data as a (perhaps scaled) ruleset wants them.

    Training examples are those of ``rules``, at least one batch. Where the ruleset is scaled, validation and test are scaled as
    well, since after a pass over 1,000 examples their 20,000 would be most of the cost; so a scaled test accuracy is coarse.

    Args:
        data: whole, on any device.
        rules: ``train_examples`` and ``scale`` are read.
        batch_size: the largest of any arm.

    Raises:
        UsageError: ``train_examples`` is below the number of classes.
    """
    n_train = data.n("train") if rules.train_examples is None else min(rules.train_examples, data.n("train"))
    if rules.scale == 1.0:
        return data.limited(n_train)
    whole = {split: data.n(split) for split in data.splits}
    small = data.limited(n_scaled(n_train, rules.scale, data.n_classes, batch_size))
    splits, sizes = dict(small.splits), []
    for split in ("validation", "test"):
        examples = data.splits[split]
        n = n_scaled(whole[split], rules.scale, data.n_classes)
        order = torch.from_numpy(stratified_order(examples.y.cpu().numpy())[:n]).to(data.device)
        splits[split] = dataclasses.replace(examples, x=examples.x.index_select(0, order), y=examples.y.index_select(0, order))
        sizes.append(f"{split} {n:,} of {whole[split]:,}")
    return dataclasses.replace(
        small,
        splits=splits,
        split_digest=digest(small.split_digest, *sizes),
        note=f"{small.note} SCALED: {', '.join(sizes)} examples.",
    )


def split_seed(rules: Ruleset) -> int:
    """The one split seed of a ruleset.

    Raises:
        RulesetError: it crosses several; the published numbers of a suite are of one split.
    """
    seed, *others = rules.plan.split_seeds
    if others:
        raise RulesetError(
            f"ruleset {rules.name} runs {1 + len(others)} split seeds, and a suite runs one; add plan.split_seeds: [{seed}] to "
            "the changes of the ruleset"
        )
    return seed
