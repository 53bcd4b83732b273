"""The check of what a rule says that it costs, against the count."""

from __future__ import annotations

import pytest

from bpfree.algorithms import Algorithm, cost_of
from bpfree.bench.cost_table import step_macs
from bpfree.bench.counting import apart_flops, end_of_pass_flops, evaluation_flops, live_step, step_flops
from bpfree.testing._setting import ContractSetting
from bpfree.testing.bench import RuleOnNet

__all__ = ["Costs"]

WITHIN = 0.02
"""Largest relative difference between multiply-adds by formula and counted."""

BYTES_WITHIN = 0.05
"""The same of bytes, whose formulas leave out small tensors."""

N = 32
"""Examples of a batch."""


class Costs(ContractSetting):
    """The formulas of a rule that gives some; a rule without (``cost`` returns None) passes."""

    def test_cost_equals_the_count(self, algorithm: Algorithm) -> None:
        """Multiply-adds of a step, of scoring, of upkeep and of the end of a pass, and the bytes of a step, are those counted."""
        bench = RuleOnNet.start(algorithm, self.make_net(in_shape=(196,), widths=(64, 64, 64), n_classes=10))
        net, state, batch = bench.net, bench.state, bench.batch(N)
        for phase in bench.phases:
            cost = cost_of(algorithm, net, N, phase)
            if cost is None:
                continue
            assert set(cost.upkeep) <= {work.name for work in algorithm.upkeep()}, "cost.upkeep names work that upkeep does not"
            step = step_macs(algorithm, cost)
            if step is not None:
                counted = step_flops(algorithm, net, state, batch, phase)
                assert 2 * step == pytest.approx(counted, rel=WITHIN), f"a step in phase {phase.name!r}"
            if cost.evaluation is not None:
                counted = evaluation_flops(algorithm, net, state, batch, phase)
                assert 2 * cost.evaluation == pytest.approx(counted, rel=WITHIN), f"scores after phase {phase.name!r}"
            closing = end_of_pass_flops(algorithm, net, state, batch, phase)
            assert 2 * (cost.close or 0) == pytest.approx(closing or 0, rel=WITHIN), f"the end of a pass of phase {phase.name!r}"
            apart = apart_flops(algorithm, net, state, batch)
            if apart is not None and apart.name in cost.upkeep:
                assert 2 * cost.upkeep[apart.name] == pytest.approx(apart.flops, rel=WITHIN), apart.name
            if cost.peak is not None and phase.learning:
                live = live_step(algorithm, net, state, batch, phase)
                gradients, rest = (numbers * net.dtype.itemsize for numbers in cost.peak)
                assert gradients + rest == pytest.approx(live.peak_bytes, rel=BYTES_WITHIN), "bytes of a step"
                assert gradients == pytest.approx(live.gradients_bytes, abs=BYTES_WITHIN * live.peak_bytes), "bytes of gradients"
