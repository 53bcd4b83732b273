"""The error-driven rules and their variants, held to the contract."""

from __future__ import annotations

import pytest

from bpfree.algorithms import (
    Backprop,
    DirectFeedbackAlignment,
    FeedbackAlignment,
    Foton,
    Pepita,
    SignSymmetry,
)
from bpfree.testing import AlgorithmContract
from bpfree.testing.bench import BLOCK_KINDS

DENSE = {kind: maker for kind, maker in BLOCK_KINDS.items() if kind.startswith("dense")}
WIDE_ENOUGH = AlgorithmContract.dtypes[:2]  # bfloat16 is refused: see test_foton.py and test_pepita.py
MIRRORING = {name: {"mirroring": True, "sign": "minus", "premirror_steps": 2} for name in ("mirror_lr", "mirror_decay")}


class TestFeedbackAlignment(AlgorithmContract):
    block_kinds = DENSE

    rules = (
        FeedbackAlignment(),
        FeedbackAlignment(feedback="orthogonal", maths="autograd", optimiser="sgd", lr=0.05),
    )


class TestSignSymmetry(AlgorithmContract):
    block_kinds = DENSE

    rules = (
        SignSymmetry(),
        SignSymmetry(variant="brsf"),
        SignSymmetry(variant="frsf", maths="autograd"),
    )


class TestDirectFeedbackAlignment(AlgorithmContract):
    rules = (
        DirectFeedbackAlignment(),
        DirectFeedbackAlignment(feedback="normal", maths="autograd"),
    )


class TestDirectRandomTargetProjection(AlgorithmContract):
    floors = {"blobs": 0.95, "digits": 0.75}  # a class attribute of the contract

    rules = (DirectFeedbackAlignment(target="labels"),)


class TestPepita(AlgorithmContract):
    block_kinds = DENSE
    dtypes = WIDE_ENOUGH
    easy_params = {"lr": 0.03, "optimiser": "sgd"}
    matters_with = MIRRORING

    rules = (
        Pepita(dropout=0.0),
        Pepita(dropout=0.0, presynaptic="mixed", sign="plus"),
    )


class TestPepitaWithDropout(AlgorithmContract):
    block_kinds = DENSE
    dtypes = WIDE_ENOUGH
    easy_params = {"lr": 0.03, "optimiser": "sgd"}
    matters_with = MIRRORING
    exceptions = {
        "test_order_within_a_batch_does_not_matter": "a mask is drawn by the place of an example in the batch",
        "test_ragged_batch_keeps_mean_semantics": "the same",
    }

    rules = (Pepita(),)


class TestPepitaWithMirroring(AlgorithmContract):
    block_kinds = DENSE
    dtypes = WIDE_ENOUGH
    easy_params = {"lr": 0.03, "optimiser": "sgd"}

    rules = (Pepita(mirroring=True, premirror_steps=3, mirror_every=2, dropout=0.0),)


@pytest.mark.filterwarnings("ignore::bpfree.algorithms.NotOrthogonalWarning")
class TestFoton(AlgorithmContract):
    block_kinds = DENSE
    dtypes = WIDE_ENOUGH
    easy_passes = 24  # SGD is slow where 4 of 16 inputs tell the classes apart

    rules = (
        Foton(orthogonalise_every=2),
        Foton(memory="low", orthogonalise_by="newton-schulz", orthogonalise_every=2, refresh_every=2, output="orthonormal"),
        Foton(optimiser="sgd", orthogonalise_by="svd", orthogonalise_every=3, orthogonalise_steps=2),
    )


@pytest.mark.filterwarnings("ignore::bpfree.algorithms.NotOrthogonalWarning")
class TestFotonWithSquaredError(AlgorithmContract):
    block_kinds = DENSE
    dtypes = WIDE_ENOUGH
    matters_with = {"temperature": {"loss": "cross-entropy"}}

    rules = (Foton(loss="squared-error", eps=0.5),)


@pytest.mark.filterwarnings("ignore::bpfree.algorithms.NotOrthogonalWarning")
class TestBackpropOnAnOrthogonalNet(AlgorithmContract):
    """FOTON's control: orthogonal at the start only."""

    block_kinds = DENSE
    dtypes = WIDE_ENOUGH

    rules = (Backprop(orthogonal="init"),)


@pytest.mark.filterwarnings("ignore::bpfree.algorithms.NotOrthogonalWarning")
class TestBackpropOnANetKeptOrthogonal(AlgorithmContract):
    block_kinds = DENSE
    dtypes = WIDE_ENOUGH

    rules = (Backprop(orthogonal="kept", orthogonalise_every=2),)
