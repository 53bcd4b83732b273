"""Whose training a checkpoint belongs to."""

from __future__ import annotations

import hashlib
from typing import Any

from bpfree.algorithms import Algorithm, params
from bpfree.data import Dataset
from bpfree.nets import Chain
from bpfree.rulesets.stopping import StopRule, stop_in

__all__ = ["identity_of"]


def identity_of(
    algorithm: Algorithm,
    net: Chain,
    data: Dataset,
    stop: StopRule,
    batch_size: int,
    seed: int,
    lr_schedule: str,
    precision: str = "float32",
) -> dict[str, Any]:
    """JSON values that must be the same in every sitting of one training.

    The caps of the stop rule are among them only where they change passes that were made already: where the learning rate
    follows them, or where phases share them.
    """
    phases = algorithm.phases(net)
    rules = [stop_in(stop, phase) for phase in phases]
    identity = {
        "algorithm": algorithm.name,
        **{f"hyper-parameter {name}": value for name, value in params(algorithm).items()},
        "blocks": net.describe(),
        "layers (sha256)": hashlib.sha256(repr(net.to_module()).encode()).hexdigest()[:16],
        "training data": data.data_digest,
        "augmentation": data.augmentation,
        "class_weight": list(data.class_weight) if isinstance(data.class_weight, tuple) else data.class_weight,
        "dtype": str(net.dtype).removeprefix("torch."),
        "batch_size": batch_size,
        "seed": seed,
        "lr_schedule": lr_schedule,
        "stop metric": [rule.metric for rule in rules],
        "restore_best": [rule.restore_best for rule in rules],
    }
    if precision != "float32":  # the only one when the first checkpoints were written
        identity["precision"] = precision
    if lr_schedule != "constant" or len(phases) > 1:
        identity["max_passes"] = [rule.max_passes for rule in rules]
    return identity
