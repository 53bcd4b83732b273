"""Every rule and variant that ships, held to the contract."""

from __future__ import annotations

from bpfree.algorithms import Backprop, ForwardForward, MonoForward
from bpfree.nets import Chain
from bpfree.testing import AlgorithmContract

FORWARD_FORWARD = {
    "alpha": {"loss": "symba"},
    "head_lr": {"inference": "head"},
    "head_weight_decay": {"inference": "head"},
}


class TestBackprop(AlgorithmContract):
    rules = (
        Backprop(),
        Backprop(maths="autograd", weight_decay=0.1),
        Backprop(checkpoint_every=1),
        Backprop(update="in-sweep"),
    )


class TestMonoForward(AlgorithmContract):
    rules = (
        MonoForward(),
        MonoForward(schedule="staged"),
        MonoForward(readout="sum", weight_decay=0.1, maths="autograd"),
        MonoForward(chunk=5),
    )

    def backprop_twin(self) -> Chain:
        """One block and its projection are a two-layer net, whose last layer has no bias."""
        return self.make_net(widths=(9,))


class TestForwardForward(AlgorithmContract):
    matters_with = FORWARD_FORWARD
    easy_params = {"lr": 1e-2}
    floors = {"blobs": 0.95, "digits": 0.8}

    rules = (
        ForwardForward(),
        ForwardForward(goodness="mean", goodness_blocks="all", threshold=0.5),
        ForwardForward(maths="autograd"),
    )


class TestSgd(AlgorithmContract):
    """The other optimiser, under every rule."""

    matters_with = FORWARD_FORWARD

    easy_params = {"lr": 1e-2}
    easy_passes = 20
    floors = {"blobs": 0.95, "digits": 0.8}

    rules = tuple(rule(optimiser="sgd") for rule in (Backprop, MonoForward, ForwardForward))
