"""How each peer is called: a few lines that hand the job to its own training function.

No code of a peer is here or anywhere in this repository. A peer that leaves the learning rate, or the kind of optimiser, to its
caller is given torch's Adam, as its own configurations do; an optimiser that it makes itself is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bpfree.bench.arm import Arm
from bpfree.errors import UsageError
from bpfree.train import initialise, read_by

from .checkouts import Checkout
from .jobs import LR, Contender, Job

__all__ = ["PEERS", "Peer"]

CPU = torch.device("cpu")
NEVER = 10**9
"""Steps between two lines of a peer's log."""


@dataclass(frozen=True)
class Peer:
    """One function of a checkout.

    Attributes:
        folder: name of the checkout in PEER_DIR.
        url, written_for: repository, and its commit when the adapter was written.
        what: the rule, in a table.
        arm: ours that does the same.
        contender: makes it ready for a job.
        net: that it is made for, where it cannot take any.
        last_phase: whether ours is timed in its last phase alone.
    """

    folder: str
    url: str
    written_for: str
    what: str
    arm: str
    contender: Callable[[Checkout, Job], Contender]
    net: str | None = None
    last_phase: bool = False

    def checkout(self, peer_dir: Path) -> Checkout:
        """Where it is expected."""
        return Checkout(peer_dir / self.folder, self.url, self.written_for)


def _flat(x: Tensor) -> Tensor:
    return x.flatten(1)


def bb_backprop(checkout: Checkout, job: Job) -> Contender:
    """``src.baselines.bp.train_bp_epoch``: one epoch over the batches of a window."""
    train, model_of = checkout.names(train_bp_epoch="src.baselines.bp", MF_MLP="src.architectures.mf_mlp")
    model = model_of(job.n_inputs, job.widths, job.data.n_classes)
    used = [value for name, value in model.named_parameters() if "projection" not in name]
    optimiser = torch.optim.Adam(used, lr=LR)

    def run(steps: int) -> None:
        train(model, job.ready(steps), optimiser, nn.CrossEntropyLoss(), CPU, 0, 1, log_interval=NEVER, input_adapter=_flat)

    return Contender("train_bp_epoch", run)


def bb_mono_forward(checkout: Checkout, job: Job) -> Contender:
    """``src.algorithms.mf.train_mf_model``: an epoch for M₀ and for each layer; it makes its own optimisers."""
    train, model_of = checkout.names(train_mf_model="src.algorithms.mf", MF_MLP="src.architectures.mf_mlp")
    model = model_of(job.n_inputs, job.widths, job.data.n_classes)
    config = {"algorithm_params": {"optimizer_type": "Adam", "lr": LR, "epochs_per_layer": 1, "log_interval": NEVER}}
    return Contender("train_mf_model", lambda steps: train(model, job.ready(steps), config, CPU, _flat), len(job.widths) + 1)


def bb_forward_forward(checkout: Checkout, job: Job) -> Contender:
    """``src.algorithms.ff.train_ff_model``: an epoch, with its linear classifier; it makes its own optimiser."""
    train, model_of = checkout.names(train_ff_model="src.algorithms.ff", FF_MLP="src.architectures.ff_mlp")
    config: dict[str, Any] = {
        "training": {"epochs": 1, "early_stopping_enabled": False, "log_interval": NEVER},
        "algorithm_params": {"optimizer_type": "Adam", "ff_learning_rate": LR, "downstream_learning_rate": LR},
        "data": {"num_classes": job.data.n_classes},
    }
    model = model_of(config, CPU, job.n_inputs, job.widths, job.data.n_classes)
    return Contender("train_ff_model", lambda steps: train(model, job.ready(steps), None, config, CPU))


def loewe_forward_forward(checkout: Checkout, job: Job) -> Contender:
    """``src.ff_model.FF_model``, in the four lines of ``main.train``, whose loader knows nothing but MNIST.

    Positive, negative and neutral pictures are ready: its loader makes them one by one, which takes longer than a step.
    """
    (model_of,) = checkout.names(FF_model="src.ff_model")
    if len(set(job.widths)) > 1 or job.n_inputs != 784 or job.data.n_classes != 10:
        raise UsageError(f"FF_model takes 784 inputs, ten classes and blocks of one width, got {job.net_name}")
    model = model_of(
        SimpleNamespace(
            device="cpu",
            run_additional_inference=False,
            input=SimpleNamespace(batch_size=job.n),
            model=SimpleNamespace(hidden_dim=job.widths[0], num_layers=len(job.widths), peer_normalization=0.0, momentum=0.9),
        )
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=LR)
    kinds = ("pos_images", "neg_images", "neutral_sample")

    def run(steps: int) -> None:
        for x, y in job.ready(steps):
            optimiser.zero_grad()
            model(dict.fromkeys(kinds, x), {"class_labels": y})["Loss"].backward()
            optimiser.step()

    return Contender("FF_model", run)


def cafo(checkout: Checkout, job: Job) -> Contender:
    """``block.Block.train_gradient_descent``: steps of plain gradient descent of each block's predictor on features that are
    ready, those of our frozen blocks. It asks for a GPU by name; here that means the processor.
    """
    (block_of,) = checkout.names(Block="block")
    rule, net = Arm.parse(CAFO_ARM).build({}), job.net
    initialise(rule, net, 0, CPU)
    read, _ = read_by(net, job.data, rule.phases(net)[-1])
    batch = next(iter(read.batches("train", job.n)))
    features = batch.x.split(job.widths, dim=1)

    def run(steps: int) -> None:
        with _gpu_is_the_processor():
            for x in features:
                block = block_of("CE", job.data.n_classes, steps, 1, nn.Identity(), x.shape[1], LR, 0.0)
                block.train_gradient_descent(x, batch.y)

    return Contender("Block.train_gradient_descent", run)


class _GpuIsTheProcessor(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.cuda:
            return args[0]
        kwargs = dict(kwargs or {})
        if kwargs.get("device") == "cuda":
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


@contextmanager
def _gpu_is_the_processor() -> Iterator[None]:
    with _GpuIsTheProcessor():
        yield


CAFO_ARM = "cascaded-forward:cache_features=true:optimiser=sgd:momentum=0"
BEYOND = ("BeyondBackpropagation", "https://github.com/Przemyslaw11/BeyondBackpropagation")
BEYOND_COMMIT = "597d79d8ca3895ef67f251a892d04d6eb4951ece"
WITH_HEAD = "forward-forward:inference=head"
PEERS = (
    Peer(*BEYOND, BEYOND_COMMIT, "backprop", "backprop", bb_backprop),
    Peer(
        *BEYOND,
        BEYOND_COMMIT,
        "Mono-Forward, layer after layer",
        "mono-forward:schedule=staged:raw_projection=true",
        bb_mono_forward,
    ),
    Peer(*BEYOND, BEYOND_COMMIT, "Forward-Forward", WITH_HEAD, bb_forward_forward),
    Peer(
        "Forward-Forward",
        "https://github.com/loeweX/Forward-Forward",
        "da516f094c70a4a92042fbbc7ab33303aa7dbfd9",
        "Forward-Forward",
        WITH_HEAD,
        loewe_forward_forward,
    ),
    Peer(
        "CaFo",
        "https://github.com/Graph-ZKY/CaFo",
        "b2cccf3a93258bf115f2285f217c7135fcda6c79",
        "Cascaded-Forward, predictors",
        CAFO_ARM,
        cafo,
        net="cnn3",
        last_phase=True,
    ),
)
