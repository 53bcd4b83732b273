"""One rank of the benchmark: ``python -m parallel_kit.ranks NET STEPS WINDOWS BATCH OUT [RULE]``, started once for each rank.

Contenders alternate. A window of layers has STEPS steps, so that the pipeline is filled and drained seldom, any other a quarter.
Where one process works alone the others wait in a barrier, which takes no processor time. A window of several ranks begins in
both at once and ends when the last of them has ended: the filling and draining of a pipeline are in it.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

from bpfree import data
from bpfree.algorithms import Addition, make, shape_of, stages_of, step
from bpfree.data import Batch, Dataset
from bpfree.nets import Chain, build
from bpfree.parallel import Ranks, joined, shares_of, stage_flops
from bpfree.parallel.layers import LayerPart
from bpfree.parallel.rows import shared_step
from bpfree.train import initialise
from bpfree.train.passes import Work

from . import AT_ONCE

RULES = ("mono-forward", "forward-forward")
SCHEDULES = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}
MICROBATCHES = 4
BACKPROP = "backprop (torch)"
Window = Callable[[], None]


def few(steps: int) -> int:
    """Steps of a window that has no pipeline of batches to fill."""
    return max(2, steps // 4)


class Net(nn.Module):
    """Some blocks of a chain, and behind the last one its output."""

    def __init__(self, net: Chain, share: range) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([net[k] for k in share])
        self.last = share[-1] == len(net) - 1
        self.features = net[share[-1]].features
        self.output = net.output if self.last else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.output(self.features(x)) if self.last else x


class Contenders:
    """What is timed, by name: ``alone`` a whole training in one process, ``together`` this rank's part of one.

    Args:
        batches: a step each in a window.
        only: a local rule, whose layers alone are timed; by default all rules, rows and backprop.
    """

    def __init__(self, ranks: Ranks, net: str, loaded: Dataset, batches: Sequence[Batch], only: str | None = None) -> None:
        self._ranks, self._name, self._data, self._batches = ranks, net, loaded, batches
        self.alone: dict[str, Window] = {}
        self.together: dict[str, Window] = {}
        self.steps: dict[str, int] = {}
        self._few = batches[: few(len(batches))]
        self.facts: dict[str, Any] = {"loads": {}}
        for rule in RULES if only is None else (only,):
            self._local(rule)
        if only is None:
            self._rows(RULES[0])
            self._backprop()

    def _net(self) -> Chain:
        torch.manual_seed(0)
        net = build(self._name, self._data.in_shape, self._data.n_classes)
        net.train()
        return net

    def _work(self, name: str) -> Work:
        rule, net = make(name), self._net()
        return Work(rule, net, initialise(rule, net, 0), self._data, len(self._batches[0].y), 0, "float32")

    def _local(self, name: str) -> None:
        work, ranks = self._work(name), self._ranks
        phase = work.algorithm.phases(work.net)[0]

        def serial() -> None:
            for batch in self._few:
                step(work.algorithm, work.net, work.state, batch, phase)

        self.alone[name] = serial
        layered = self._work(name)
        part = LayerPart(ranks, layered)
        part.begin()

        def layers() -> None:
            part.steps(0, iter(self._batches))

        self.steps[f"{name} layers"] = len(self._batches)

        self.together[f"{name} layers"] = layers
        costs = stage_flops(stages_of(layered.algorithm, layered.net, phase), layered.net, layered.state, self._batches[0])
        shares = shares_of(costs, ranks.size)
        self.facts["loads"][name] = [sum(costs[k] for k in share) for share in shares]
        self.facts.setdefault("shares", {})[name] = [[share.start, share.stop] for share in shares]

    def _rows(self, name: str) -> None:
        shared, ranks, addition = self._work(name), self._ranks, Addition(self._ranks.begin_sum)
        phase = shared.algorithm.phases(shared.net)[0]

        @torch.no_grad()
        def rows() -> None:
            for batch in self._few:
                shared_step(
                    *(shared.algorithm, shared.net, shared.state, batch, phase),
                    *(addition, ranks.rank, ranks.size, ranks.total),
                )

        self.together[f"{name} data"] = rows

    def _backprop(self) -> None:
        """torch's autograd and fused Adam, in one process and cut where the blocks of the first rule are."""
        ranks, net = self._ranks, self._net()
        whole = Net(net, range(len(net)))
        optimiser = torch.optim.Adam(whole.parameters(), lr=1e-4, fused=True)

        def serial() -> None:
            for batch in self._few:
                optimiser.zero_grad(set_to_none=True)
                F.cross_entropy(whole(batch.x), batch.y).backward()
                optimiser.step()

        self.alone[BACKPROP] = serial
        costs = self._backprop_costs()
        shares = shares_of(costs, ranks.size)
        self.facts["loads"][BACKPROP] = [sum(costs[k] for k in share) for share in shares]
        self.facts["shares"][BACKPROP] = [[share.start, share.stop] for share in shares]
        for name, schedule in SCHEDULES.items():
            module = Net(self._net(), shares[ranks.rank])
            stage = PipelineStage(module, ranks.rank, ranks.size, ranks.device)
            self.together[f"{BACKPROP} {name}"] = self._pipelined(module, schedule(stage, MICROBATCHES, loss_fn=F.cross_entropy))

    def _pipelined(self, module: Net, schedule: Any) -> Window:
        optimiser = torch.optim.Adam(module.parameters(), lr=1e-4, fused=True)
        first, last = self._ranks.rank == 0, self._ranks.rank == self._ranks.size - 1

        def window() -> None:
            for batch in self._few:
                optimiser.zero_grad(set_to_none=True)
                given = {"target": batch.y, "losses": []} if last else {}
                schedule.step(*([batch.x] if first else []), **given)
                optimiser.step()

        return window

    def _backprop_costs(self) -> list[int]:
        """FLOPs of each block: forward, weight gradient, and but for the first the input's; the last with the output."""
        shape = shape_of(self._net(), len(self._batches[0].y), 0)
        assert shape is not None  # dense blocks and convolutions
        costs = [2 * shape.n * block.macs * (2 if k == 0 else 3) for k, block in enumerate(shape.blocks)]
        costs[-1] += 2 * shape.n * shape.output * 3
        return costs


def timed(ranks: Ranks, work: Window | None) -> float:
    """Seconds from a common start to the end of the last rank; a rank without work waits."""
    dist.barrier()
    begin_s = time.perf_counter()
    if work is not None:
        work()
    dist.barrier()
    return time.perf_counter() - begin_s


def hand_over_s(ranks: Ranks, n_bytes: int, repeats: int = 9) -> float:
    """Seconds in which the second rank has what the first one sends, the least; 0 for one rank."""
    if ranks.size == 1:
        return 0.0
    what, seconds = torch.zeros(n_bytes // 4), []
    for _ in range(repeats):
        dist.barrier()
        begin_s = time.perf_counter()
        if ranks.rank == 0:
            dist.send(what, 1)
        elif ranks.rank == 1:
            dist.recv(what, 0)
        seconds.append(time.perf_counter() - begin_s)
    least = torch.tensor(min(seconds))
    dist.broadcast(least, 1)
    return float(least)


def main(net: str, steps: str, windows: str, batch_size: str, out: str, only: str | None = None) -> None:
    """Time every contender; the first rank writes."""
    torch.set_num_threads(1)
    n, size = int(steps), int(batch_size)
    loaded = data.load(f"synthetic:n={4 * n * size}:inputs=1x28x28").without_test()
    batches = [batch for batch in loaded.batches("train", size) if len(batch.y) == size][:n]
    with joined(torch.device("cpu")) as ranks:
        contenders = Contenders(ranks, net, loaded, batches, only)
        step_s: dict[str, list[float]] = {}
        last = contenders.facts["shares"][RULES[0]][0][1] - 1
        handed_bytes = 4 * size * math.prod(build(net, loaded.in_shape, loaded.n_classes)[last].out_shape)
        contenders.facts["hand_over_s"] = hand_over_s(ranks, handed_bytes)

        def note(name: str, work: Window | None, turn: int, words: str = "") -> None:
            taken_s = timed(ranks, work) / contenders.steps.get(name, few(n))
            if turn:  # the first is a warm-up
                step_s.setdefault(name + words, []).append(taken_s)

        for turn in range(int(windows) + 1):
            for name, work in contenders.alone.items():
                note(name, work if ranks.leads else None, turn)
                if turn % 2 == 1:
                    note(name, work, turn, AT_ONCE)
            for name, work in contenders.together.items():
                note(name, work, turn)
        if ranks.leads:
            result = {"net": net, "steps": n, "batch_size": size, "step_s": step_s, **contenders.facts}
            Path(out).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
