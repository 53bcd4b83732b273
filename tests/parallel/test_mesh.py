"""Pipelines side by side: how long they are, and what ranks of one place must agree on."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bpfree.errors import UsageError
from bpfree.parallel import Ranks, check_mesh
from bpfree.parallel.mesh import length_of
from bpfree.parallel.replica import Replica
from bpfree.train import initialise
from tests.parallel.cases import made


@pytest.mark.parametrize(("size", "length"), [(1, 1), (2, 1), (3, 1), (4, 2), (6, 2), (8, 2), (9, 3), (16, 2), (18, 3)])
def test_a_pipeline_is_no_longer_than_the_root_of_the_ranks_and_the_net(size: int, length: int) -> None:
    rule, net, _ = made("mono-forward@mlp:3x8")
    assert length_of(rule, net, size) == length  # 16 ranks would be 4 by 4, but there are 3 blocks
    rule, net, _ = made("mono-forward@mlp:1x8")
    assert length_of(rule, net, size) == 1


def test_a_rule_must_be_admitted_to_both() -> None:
    for case, words in (
        ("backprop@mlp:2x8", "cannot be trained layer-parallel"),
        ("local-similarity@mlp:2x8", "cannot be trained data-parallel"),
        ("mono-forward@cnn3", "BatchNorm in block 0"),
    ):
        rule, net, data = made(case)
        with pytest.raises(UsageError, match=words):
            check_mesh(rule, net, data, 64, 4)
    rule, net, data = made("mono-forward@mlp:2x8")
    check_mesh(rule, net, data, 2, 4)
    with pytest.raises(UsageError, match="2 ranks share each batch, and a batch has 1 examples"):
        check_mesh(rule, net, data, 1, 4)


FIRST, LATER = "net.blocks.0.linear.weight", "net.blocks.1.linear.weight"


@pytest.mark.parametrize(
    ("of_others", "words"),
    [
        ([{LATER: "b"}, {FIRST: "same"}, {LATER: "b"}], None),
        ([{LATER: "b"}, {FIRST: "other"}, {LATER: "b"}], f"ranks 0 and 2 differ in {FIRST}"),
        ([{LATER: "b"}, {}, {LATER: "b"}], f"ranks 0 and 2 differ in {FIRST}"),
        ([{FIRST: "same"}, {FIRST: "same"}, {LATER: "b"}], f"ranks 0 and 1 both changed {FIRST}: the rule is not local"),
    ],
)
def test_ranks_of_one_place_have_changed_the_same(
    of_others: list[dict[str, str]], words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four ranks in pipelines of two; this is the first."""
    rule, net, _ = made("mono-forward@mlp:2x8")
    replica = Replica(Ranks(0, 4, torch.device("cpu")), net, initialise(rule, net, 0))
    with torch.no_grad():
        net[0].linear.weight.add_(1)
    sent: list[tuple[Any, int]] = []

    def gather(self: Ranks, mine: dict[str, str]) -> list[Any]:
        assert list(mine) == [FIRST]
        return [mine, *({name: mine[FIRST] if word == "same" else word for name, word in each.items()} for each in of_others)]

    monkeypatch.setattr(Ranks, "gather", gather)
    monkeypatch.setattr(Ranks, "broadcast_tensor", lambda self, tensor, src: sent.append((tuple(tensor.shape), src)))
    if words is None:
        replica.spread(2)
        assert sorted(src for _, src in sent) == [0, 1]
        assert replica.changed() == []
    else:
        with pytest.raises(UsageError, match=words):
            replica.spread(2)
        assert sent == []
