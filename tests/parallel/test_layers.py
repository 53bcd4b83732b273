"""Layer-parallel training is serial training: the same tensors, bit for bit, in any number of ranks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bpfree.algorithms import make, names, stages_of
from bpfree.algorithms._stages import in_turn
from bpfree.errors import UsageError
from bpfree.numerics.streams import stream_key
from bpfree.parallel import Ranks
from bpfree.parallel.layers import LayerPart
from bpfree.train import initialise
from bpfree.train.passes import Work
from tests.parallel.cases import made, run_ranks, trained

QUICK = (
    "mono-forward@mlp:3x24",
    "mono-forward:schedule=staged:raw_projection=true@mlp:2x24",
    "forward-forward@mlp:3x24",
    "cascaded-forward@mlp:2x24",
    "cascaded-forward:predictor=ridge@mlp:2x24",
    "spatial-goodness@cnn3",
)
MORE = (
    "mono-forward:readout=best-prefix@cnn3",
    "mono-forward:chunk=20@mlp:3x24",
    "mono-forward@resnet8",
    "mono-forward@mlp:2x800",
    "forward-forward:inference=head@mlp:3x24",
    "forward-forward:loss=symba:peer_normalisation=0.03@mlp:3x24",
    "cascaded-forward@cnn3",
    "cascaded-forward:predictors=staged@mlp:3x24",
    "local-similarity:dropout=0.2@mlp:3x24",
    "blockwise:reach=2@mlp:4x24",
)
REFUSED = {
    "backprop": "its update of a block reads later blocks",
    "deep-supervision": "its update of a block reads later blocks",
    "direct-feedback-alignment": "its update of a block reads later blocks",
    "cascaded-forward:blocks=dfa": "waits for the error of the output",
    "cascaded-forward:cache_features=true": "leave it out",
    "forward-forward:negatives=hard": "hard negatives read the head",
}


@pytest.mark.parametrize("case", QUICK + MORE)
def test_stages_in_turn_are_learn(case: str) -> None:
    """Cut and put together again, in one process."""
    rule, net, data = made(case)
    _, twin, _ = made(case)
    state, twin_state = initialise(rule, net, 0), initialise(rule, twin, 0)
    with torch.no_grad():
        for phase in rule.phases(net):
            for batch in list(data.batches("train", 48, seed=3))[:2]:
                losses = rule.learn(net, state, batch, phase)
                assert torch.equal(in_turn(stages_of(rule, twin, phase), twin, twin_state, batch), losses)
    for mine, other in ((net, twin), (state, twin_state)):
        assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in mine.state_dict().items())


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick cases, trained in two ranks."""
    out = tmp_path_factory.mktemp("ranks")
    for ended in run_ranks(2, out, QUICK):
        assert ended.returncode == 0, ended.stderr
    return out


@pytest.mark.parametrize("case", QUICK)
def test_two_ranks_train_as_one_process(case: str, two_ranks: Path) -> None:
    """Weights, heads, moments, running statistics, counts and the losses of all passes."""
    _as_in_one_process(case, two_ranks)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_every_local_rule_in_more_ranks(size: int, tmp_path: Path) -> None:
    """A hundred steps of each phase."""
    cases = [case for case in QUICK + MORE if size <= _n_stages(case)]
    for ended in run_ranks(size, tmp_path, cases, timeout_s=280, n_steps=100):
        assert ended.returncode == 0, ended.stderr
    for case in cases:
        _as_in_one_process(case, tmp_path, n_steps=100)


def _n_stages(case: str) -> int:
    rule, net, _ = made(case)
    return max(len(stages_of(rule, net, phase).blocks) for phase in rule.phases(net))


def _as_in_one_process(case: str, out: Path, n_steps: int = 0) -> None:
    tensors, history = trained(case, n_steps=n_steps)
    path = out / f"{case.replace(':', '+')}.safetensors"
    together = load_file(path)
    assert together.keys() == tensors.keys()
    assert [name for name, tensor in tensors.items() if not torch.equal(together[name], tensor)] == []
    assert json.loads(path.with_suffix(".json").read_text()) == history
    assert any(tensor.any() for name, tensor in tensors.items() if "projection" in name or "weight" in name)


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_cut_is_refused(case: str) -> None:
    name, *pairs = case.split(":")
    rule, (_, net, _) = make(name, dict(pair.split("=") for pair in pairs)), made("mono-forward@mlp:2x24")
    with pytest.raises(UsageError, match=REFUSED[case]):
        stages_of(rule, net, rule.phases(net)[-1 if "cache" in case else 0])


def test_every_registered_rule_is_cut_or_refused() -> None:
    """A new rule says which; by default it is refused."""
    _, net, _ = made("mono-forward@mlp:2x24")
    cut = set()
    for name in names():
        rule = make(name, {})
        try:
            stages_of(rule, net, rule.phases(net)[0])
            cut.add(name)
        except UsageError as error:
            assert "cannot be trained layer-parallel" in str(error)
    assert cut == {
        *("blockwise", "cascaded-forward", "forward-forward", "local-similarity", "mono-forward", "spatial-goodness"),
    }


def test_more_ranks_than_stages() -> None:
    """Refused in every rank, before anything is sent."""
    rule, net, data = made("mono-forward@mlp:2x24")
    work = Work(rule, net, initialise(rule, net, 0), data, 64, 0, "float32")
    for rank in range(3):
        with pytest.raises(UsageError, match="3 ranks were started, and mono-forward has 2 stages on this net; start at most 2"):
            LayerPart(Ranks(rank, 3, torch.device("cpu")), work).plan(0)


def test_keys_of_draws_do_not_depend_on_the_rank() -> None:
    """What is random in a step comes with its batch."""
    data = made("mono-forward@mlp:2x24")[2]
    keys = [int(batch.key) for batch in data.batches("train", 64, pass_index=1, seed=5)]
    assert keys == [stream_key(5, 1, k) for k in range(len(keys))]
