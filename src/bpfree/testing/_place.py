"""Checks of what a step reads, keeps and waits for."""

from __future__ import annotations

import dataclasses
import unittest.mock
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from bpfree.algorithms import Algorithm, Phase, _gather, params
from bpfree.meter import live_memory
from bpfree.testing._setting import ContractSetting
from bpfree.testing.bench import RuleOnNet
from bpfree.testing.guards import BrokenProtocolError, no_saved_tensors, no_waiting

__all__ = ["Place"]


def _later(bench: RuleOnNet, k: int) -> Iterator[Tensor]:
    """What belongs to blocks after k: their parameters, their slots, the output (unless block k's own head is it)."""
    earlier = {id(p) for j in range(k + 1) for p in [*bench.net[j].parameters(), *_slot_tensors(bench, j)]}
    modules = [*list(bench.net)[k + 1 :], *list(bench.state.slots)[k + 1 :], bench.net.output]
    for module in modules:
        for tensor in [*module.parameters(), *module.buffers()]:
            if id(tensor) not in earlier:
                yield tensor.detach()


def _slot_tensors(bench: RuleOnNet, k: int) -> list[Tensor]:
    if k >= len(bench.state.slots):
        return []
    return [*bench.state.slot(k).parameters(), *bench.state.slot(k).buffers()]


def _of_blocks_up_to(bench: RuleOnNet, k: int) -> dict[str, Tensor]:
    """Parameters and slots of blocks 0 to k, copied."""
    values = {}
    for j in range(k + 1):
        for name, tensor in bench.net[j].named_parameters():
            values[f"block {j}: {name}"] = tensor.detach().clone()
        for m, tensor in enumerate(_slot_tensors(bench, j)):
            values[f"slot {j}: {m}"] = tensor.detach().clone()
    return values


def _scramble(tensors: Iterator[Tensor]) -> None:
    generator = torch.Generator().manual_seed(99)
    for tensor in tensors:
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)  # positive: second moments are


def _changed(start: RuleOnNet, phase: Phase, k: int, scramble: Callable[[Iterator[Tensor]], None]) -> list[str]:
    """What of blocks 0 to k a step updates otherwise once the later blocks are scrambled."""
    plain, scrambled = start.copy(), start.copy()
    scramble(_later(scrambled, k))
    for bench in (plain, scrambled):
        bench.step(bench.batch(8, 7), phase)
    ours, theirs = _of_blocks_up_to(plain, k), _of_blocks_up_to(scrambled, k)
    return [name for name in ours if not torch.equal(ours[name], theirs[name])]


class Place(ContractSetting):
    """Locality, no backprop, no waiting, memory, nothing hidden."""

    def test_locality(self, algorithm: Algorithm, block_kind: str) -> None:
        """Scrambled later blocks and slots leave the updates of earlier ones bitwise unchanged if the rule says that it is
        local, and change them if it says that it is not."""
        bench = RuleOnNet.start(algorithm, self.make_net(block_kind))
        changed = []
        for phase in bench.phases:
            bench.steps([8, 8], phase=phase)
            for k in range(len(bench.net) - 1):
                changed += _changed(bench, phase, k, _scramble)
        if algorithm.traits(bench.net).local:
            assert not changed, f"later blocks reach {changed[0]}, though traits.local is true"
        else:
            assert changed, "no later block reaches an earlier one, though traits.local is false"

    def test_no_backprop(self, algorithm: Algorithm, block_kind: str) -> None:
        """Autograd keeps nothing during ``step`` where traits.autograd is false, and something where it is true."""
        bench = RuleOnNet.start(algorithm, self.make_net(block_kind))
        claims = algorithm.traits(bench.net).autograd
        for phase in bench.phases:
            used = False
            try:
                with no_saved_tensors():
                    bench.step(bench.batch(8), phase)
            except BrokenProtocolError:
                if not claims:
                    raise
                used = True
            assert used == claims, "traits.autograd is true, but autograd keeps nothing in a step"

    def test_no_waiting_for_the_device(self, algorithm: Algorithm, block_kind: str) -> None:
        """Nothing in ``step`` or ``scores`` reads a value back to the host."""
        bench = RuleOnNet.start(algorithm, self.make_net(block_kind))
        for phase in bench.phases:
            batch = bench.batch(8)
            with no_waiting():
                bench.step(batch, phase)
                algorithm.scores(bench.net, bench.state, batch.x, phase)

    def test_memory_and_depth(self, algorithm: Algorithm) -> None:
        """Live bytes of a step do not grow with depth for a local rule, and grow for a rule with a longer gradient path.

        That is promised of nets above GATHER_BYTES, up to which gradients stay; here a net of any size counts as one.
        """
        n, width = 64, 64
        traits = algorithm.traits(self.make_net(in_shape=(64,), widths=(width,) * 32))
        depths = (2, 32) if traits.local else (8, 32) if traits.gradient_path > 1 else ()  # those that are compared
        peaks = {}
        for depth in depths:
            bench = RuleOnNet.start(algorithm, self.make_net(in_shape=(64,), widths=(width,) * depth))
            with unittest.mock.patch.object(_gather, "GATHER_BYTES", 0):  # asked in the first step, then known
                bench.steps([n])
            batch = bench.batch(n, 1)
            peaks[depth] = live_memory(lambda bench=bench, batch=batch: bench.step(batch)).peak_bytes
        one_activity = n * width * 4
        if traits.local:
            assert peaks[32] - peaks[2] < one_activity, f"live bytes grow with depth: {peaks}"
        elif traits.gradient_path > 1:
            assert peaks[32] - peaks[8] > 12 * one_activity, f"where are the activities of 24 more blocks? {peaks}"

    def test_step_reads_nothing_but_its_arguments(self, algorithm: Algorithm, block_kind: str) -> None:
        """Two trainings by one instance, their steps interleaved, do not feel each other; torch's generator stays where it is,
        and where it is does not matter."""
        net = self.make_net(block_kind)
        alone = RuleOnNet.start(algorithm, net)
        alone.all_phases([8, 5])
        one, other = RuleOnNet.start(algorithm, net), RuleOnNet.start(algorithm, net, seed=1)
        torch.manual_seed(12345)
        before = torch.get_rng_state()
        for phase in one.phases:
            for k, n in enumerate([8, 5]):
                other.step(other.batch(6, 40 + k), phase)
                one.step(one.batch(n, phase.index * 2 + k), phase)
            algorithm.close(one.net, one.state, phase)
        assert torch.equal(torch.get_rng_state(), before), "the step draws from torch's own generator, not from batch.key"
        for name, value in alone.tensors().items():
            assert torch.equal(value, one.tensors()[name]), f"{name} depends on more than the arguments of step"

    def test_traits_are_honest(self, algorithm: Algorithm, block_kind: str) -> None:
        """Extra parameters counted, no chain rule across blocks where local, the output trained where it is said to be, blocks
        left as they were drawn where the rule says that it is this control."""
        bench = RuleOnNet.start(algorithm, self.make_net(block_kind))
        traits = algorithm.traits(bench.net)
        extra = sum(value.numel() for name, value in bench.parameters() if name.startswith("state."))
        assert traits.extra_parameters == extra
        assert 0 <= traits.gradient_path <= (1 if traits.local else len(bench.net) + 1)
        assert traits.forward_passes >= 1
        before = bench.net.output.weight.detach().clone()
        drawn = [parameter.detach().clone() for block in bench.net for parameter in block.parameters()]
        bench.all_phases([8, 8])
        assert traits.trains_output == (not torch.equal(before, bench.net.output.weight)), "traits.trains_output"
        if traits.untrained_control:
            now = [parameter for block in bench.net for parameter in block.parameters()]
            assert all(map(torch.equal, now, drawn)), "traits.untrained_control is true, but a block was updated"

    def test_phases_are_well_formed(self, algorithm: Algorithm) -> None:
        """Phases count themselves, name blocks that exist, and every block learns in one of them."""
        net = self.make_net()
        phases = algorithm.phases(net)
        assert [phase.index for phase in phases] == list(range(len(phases)))
        assert all(phase.count == len(phases) and phase.name and phase.learning for phase in phases)
        assert {k for phase in phases for k in phase.learning} == set(range(len(net)))

    def test_hyper_parameters_are_frozen_and_travel(self, algorithm: Algorithm) -> None:
        """An instance cannot be changed, and its ``params`` make an equal one."""
        values: dict[str, Any] = dict(params(algorithm))
        assert type(algorithm)(**values) == algorithm
        try:
            algorithm.lr = 1.0  # pyright: ignore[reportAttributeAccessIssue]  # that is the point
        except dataclasses.FrozenInstanceError:
            return
        raise AssertionError("hyper-parameters can be changed; declare the rule with @dataclass(frozen=True, kw_only=True)")
