"""The conformance kit on the rule, and the one thing that only this rule promises."""

from __future__ import annotations

import torch
from bpfree_random_heads import RandomHeads

from bpfree.testing import AlgorithmContract
from bpfree.testing.bench import RuleOnNet, chain


class TestRandomHeads(AlgorithmContract):
    rules = (RandomHeads(),)


def test_the_classifiers_never_learn() -> None:
    kit = TestRandomHeads()
    bench = RuleOnNet.start(RandomHeads(lr=0.1), chain(kit.block_kinds["dense"], (3, 4), (9, 7), 4))
    before = [slot.head.clone() for slot in bench.state.slots]
    bench.steps([8, 8, 8])
    assert all(torch.equal(slot.head, head) for slot, head in zip(bench.state.slots, before, strict=True))
