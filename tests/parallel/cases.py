"""What is trained in the tests of several ranks: run by ``python -m tests.parallel.cases KIND OUT CASE ...`` in each rank."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from socket import if_nameindex, socket
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from bpfree.algorithms import Algorithm, make, named_tensors
from bpfree.data import Dataset, load
from bpfree.nets import Chain, build
from bpfree.parallel import Ranks, follow, joined, passes_of
from bpfree.train import Patience, evaluation, initialise, training
from bpfree.train.passes import Passes, Work
from tests import warm

PASSES = 2
STEPS = "BPFREE_TEST_STEPS"
"""Environment variable: at least so many steps in each phase, in place of :data:`PASSES`."""

DTYPE = {"layers": torch.float32, "data": torch.float64, "layers,data": torch.float64}
SCORED = 100
"""Examples that are scored at once: several batches to validate on, which the ranks share."""


def data_for(net: str) -> Dataset:
    """Digits; few of them for nets of images."""
    digits = load("digits")
    return (digits if net.startswith("mlp") else digits.limited(200)).without_test()


def batch_size(kind: str, data: Dataset) -> int:
    """Examples in a step; of the 1077 training digits, or of 200, one or two are left over with the kind ``data``."""
    return 64 if kind == "layers" else 538 if data.n("train") > 538 else 99


def made(case: str) -> tuple[Algorithm[Any], Chain, Dataset]:
    """``RULE[:key=value...]@NET``."""
    rule, _, net = case.partition("@")
    name, *pairs = rule.split(":")
    data = data_for(net)
    return make(name, dict(pair.split("=") for pair in pairs)), build(net, data.in_shape, data.n_classes), data


def trained(
    case: str, passes: Passes | None = None, kind: str = "layers", n_steps: int = 0
) -> tuple[dict[str, Tensor], list[list[float]]]:
    """Every tensor of net and state after training; loss, validation accuracy and validation loss of the passes."""
    rule, net, data = made(case)
    net.to(DTYPE[kind])
    n_passes = math.ceil(n_steps / math.ceil(data.n("train") / batch_size(kind, data))) or PASSES
    stop = Patience(n_passes, max_passes=n_passes * len(rule.phases(net)), metric="validation-loss")
    state = initialise(rule, net, 0)
    before, evaluation.EVALUATION_BATCH = evaluation.EVALUATION_BATCH, SCORED
    try:
        history = list(training(rule, net, data, stop, batch_size=batch_size(kind, data), state=state, passes=passes))
    finally:
        evaluation.EVALUATION_BATCH = before
    tensors = {name: tensor.clone() for name, tensor in named_tensors(net, state)}
    return tensors, [[each.train_loss, each.val_accuracy, each.val_loss or 0.0] for each in history]


def meeting(size: int) -> dict[str, str]:
    """Where ranks meet on this machine; by its name, which gloo would look up, a server may be asked that does not answer."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": str(size)}
    names = [name for _, name in if_nameindex() if name in ("lo", "lo0")]
    return here | {"GLOO_SOCKET_IFNAME": ",".join(names)} if names else here


def run_ranks(
    size: int, out: Path, cases: Sequence[str], timeout_s: float = 120, kind: str = "layers", n_steps: int = 0
) -> list[subprocess.CompletedProcess[str]]:
    """Start the ranks as torchrun does (whose own start takes some seconds), and wait for them."""
    here = meeting(size) | {STEPS: str(n_steps)}
    command = [kind, str(out), *cases]
    processes = [
        warm.start(command, Path.cwd(), {**os.environ, **here, "RANK": str(rank)}, module="tests.parallel.cases")
        for rank in range(size)
    ]
    ended = []
    for process in processes:
        try:
            out_text, err_text = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            for each in processes:
                each.kill()
            raise
        ended.append(subprocess.CompletedProcess(command, process.returncode, out_text, err_text))
    return ended


def _train_case(ranks: Ranks, kind: str, case: str, out: Path) -> None:
    if ranks.leads:
        passes = passes_of(kind, ranks)
        tensors, history = trained(case, passes, kind, int(os.environ[STEPS]))
        passes.end()
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, out / f"{case.replace(':', '+')}.safetensors")
        (out / f"{case.replace(':', '+')}.json").write_text(json.dumps(history))
    else:
        rule, net, data = made(case)
        net.to(DTYPE[kind])
        state = initialise(rule, net, 99)  # other values than those of the first rank, which must replace them
        follow(ranks, Work(rule, net, state, data, batch_size(kind, data), 0, "float32"), kind)


def main(kind: str, out: str, *cases: str) -> None:
    """Train every case in this rank."""
    torch.set_num_threads(1)
    evaluation.EVALUATION_BATCH = SCORED
    with joined(torch.device("cpu")) as ranks:
        for case in cases:
            _train_case(ranks, kind, case, Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
