"""bpfree.compare runs what the command runs, and takes nets and data of one's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import bpfree
from bpfree import Comparison, compare
from bpfree.algorithms import Backprop, MonoForward, make
from bpfree.bench.arm import parse_arms
from bpfree.cli import run
from bpfree.comparison import arms_of
from bpfree.data import Dataset, from_arrays
from bpfree.errors import BpfreeError, RulesetError, UsageError
from bpfree.nets import Chain, from_module, mlp, named, text_of
from bpfree.records import Record, read_records

SMALL: dict[str, Any] = {"trials": 1, "max_passes": 2, "seeds": 1}
ARMS = ["backprop", "mono-forward"]


def examples() -> tuple[np.ndarray, np.ndarray]:
    y = np.arange(90) % 3
    return np.random.default_rng(0).normal(size=(90, 6)) + 2 * np.eye(3, 6)[y], y


def a_dataset() -> Dataset:
    return from_arrays(*examples())


def stages(in_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(*in_shape, 8), nn.Tanh(), nn.Linear(8, n_classes))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def outcomes(records: list[Record] | tuple[Record, ...]) -> list[tuple[Any, ...]]:
    return [(r.arm, r.seed, r.net, r.params, r.data_digest, r.val_accuracy, r.test_accuracy, r.ruleset_digest) for r in records]


def test_the_records_are_those_of_the_command(here: Path) -> None:
    """Some seconds: two comparisons and three reports."""
    np.savez(here / "mine.npz", x=examples()[0], y=examples()[1])
    options = ("--trials", "1", "--max-passes", "2", "--seeds", "1", "--batch-size", "16", "--net", "mlp:1x8")
    assert run(["compare", "--arms", ",".join(ARMS), "--dataset", "mine.npz", *options, "--out", "C", "--quiet"]) == 0
    ours = compare(ARMS, "mlp:1x8", "mine.npz", batch_size=16, out="P", **SMALL)
    assert outcomes(ours.records) == outcomes(read_records(here / "C" / "records.jsonl"))
    files = {path.relative_to(here / "C").as_posix() for path in (here / "C").rglob("*") if path.is_file()}
    assert {path.relative_to(here / "P").as_posix() for path in (here / "P").rglob("*") if path.is_file()} == files
    again = compare(ARMS, "mlp:1x8", "mine.npz", batch_size=16, out="P", **SMALL)
    assert [record.started_at for record in again.records] == [record.started_at for record in ours.records]
    check_readable(ours)


def check_readable(comparison: Comparison) -> None:
    assert comparison.page == comparison.directory / "report" / "index.html"
    assert comparison.page.is_file()
    frame = comparison.to_frame()
    assert list(frame["arm"]) == [record.arm for record in comparison.records]
    assert frame["test_accuracy"].tolist() == [record.test_accuracy for record in comparison.records]
    assert all(arm in str(comparison) for arm in ARMS)
    assert str(comparison.page) in str(comparison)
    assert comparison._repr_html_().count("<td>mono-forward</td>") == 1
    assert comparison.summary["ruleset"]["name"] == "quick+changed"


NETS: dict[str, Any] = {
    "Sequential": stages((6,), 3),
    "function": stages,
    "Chain": from_module(stages((6,), 3), (6,), keep_weights=True),
    "mlp": mlp(6, (8,), 3),
}


@pytest.mark.parametrize("kind", NETS)
def test_nets_of_ones_own_have_a_text(kind: str) -> None:
    text = text_of(NETS[kind], (6,), 3)
    names = {"Sequential": r"Sequential-[0-9a-f]{8}", "function": f"{__name__}:stages", "Chain": r"Chain-.{8}", "mlp": "mlp:8"}
    assert re.fullmatch(names[kind], text)
    net = named(text, (6,), 3)
    assert isinstance(net, Chain) and net is not named(text, (6,), 3)
    assert (net.in_shape, net.n_classes, net[0].out_shape) == ((6,), 3, (8,))


def test_copies_of_a_net_of_ones_own_are_compared(tmp_path: Path) -> None:
    net = stages((6,), 3)
    given = [parameter.clone() for parameter in net.parameters()]
    (record,) = compare(["mono-forward"], net, a_dataset, batch_size=16, out=tmp_path / "R", **SMALL).records
    assert record.status == "ok"
    assert record.dataset == f"{__name__}:a_dataset"
    assert record.n_params == 6 * 8 + 8 + 8 * 3 + 3
    assert all(torch.equal(before, parameter) for before, parameter in zip(given, net.parameters(), strict=True))


def test_equal_nets_have_one_text_and_kept_weights_another() -> None:
    assert text_of(stages((6,), 3), (6,), 3) == text_of(stages((6,), 3), (6,), 3)
    kept = [text_of(from_module(stages((6,), 3), (6,), keep_weights=True), (6,), 3) for _ in range(2)]
    assert len({*kept, text_of(from_module(stages((6,), 3), (6,)), (6,), 3)}) == 3
    wide = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3))
    assert text_of(wide, (6,), 3) != text_of(stages((6,), 3), (6,), 3)


def test_rules_as_objects_fix_what_differs_from_their_defaults() -> None:
    assert [arm.label for arm in arms_of([Backprop(), MonoForward(lr=0.01, schedule="staged")])] == [
        "backprop", "mono-forward:lr=0.01:schedule=staged",
    ]  # fmt: skip
    raw = arms_of([MonoForward(raw_projection=True)])[0]
    assert raw.build({}) == MonoForward(raw_projection=True)
    assert arms_of(["backprop", "mono-forward"]) == parse_arms("backprop,mono-forward")


class _Mine(Backprop):
    name = "mine"


REFUSED: list[tuple[Callable[[], Any], type[BpfreeError], str]] = [
    (lambda: compare("backprop"), UsageError, "rules must be a list of rules, got 'backprop'; write ['backprop']"),  # pyright: ignore
    (lambda: compare([]), UsageError, "no rule was given"),
    (lambda: compare([3]), UsageError, "rules must hold names or rules of bpfree.algorithms, got 3"),  # pyright: ignore
    (lambda: compare(["backprop", Backprop()]), UsageError, "the arm 'backprop' is listed 2 times"),
    (lambda: compare([_Mine()]), UsageError, "_Mine is not registered as 'mine'"),
    (lambda: compare(["backprob"]), UsageError, "unknown algorithm 'backprob'; did you mean backprop"),
    (lambda: compare(ARMS, "mlp:1x8", "mnits"), UsageError, "unknown data set 'mnits'; did you mean mnist"),
    (lambda: compare(ARMS, "mlp:1x8", 3), UsageError, "data must be a name, a file, a Dataset"),  # pyright: ignore
    (lambda: compare(ARMS, "mpl:1x8", a_dataset), UsageError, "unknown net 'mpl'; did you mean mlp"),
    (lambda: compare(ARMS, 3, a_dataset), UsageError, "net must be a text such as 'mlp:2x256', a Chain, an nn.Sequential"),
    (lambda: compare(ARMS, mlp(5, (8,), 3), a_dataset, batch_size=9), UsageError, "takes (5,) and has 3 classes"),
    (lambda: compare(ARMS, lambda s, n: 3, a_dataset), UsageError, "must return a bpfree.nets.Chain, an nn.Sequential or a"),
    (lambda: compare(ARMS, "mlp:1x8", lambda: 3), UsageError, "must return a bpfree Dataset or Table, a pair (x, y)"),
    (lambda: compare(ARMS, "mlp:1x8", a_dataset().without_test(), batch_size=9), UsageError, "has no test split"),
    (lambda: compare(ARMS, stages, a_dataset, jobs=2), UsageError, "jobs=2 was asked, and other processes cannot make the net"),
    (lambda: compare(ARMS, seeds=0), RulesetError, "seeds must be at least 1, got 0"),
    (lambda: compare(ARMS, trails=3), RulesetError, "trails"),
    (lambda: compare(ARMS, ruleset="quik"), UsageError, "unknown ruleset 'quik'; did you mean quick"),
    (lambda: compare(ARMS, device="tpu"), BpfreeError, "unknown device 'tpu'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), REFUSED, ids=[words[:30] for *_, words in REFUSED])
def test_what_cannot_be_compared_is_one_line_and_writes_nothing(
    call: Callable[[], Any], kind: type[BpfreeError], words: str, here: Path
) -> None:
    with pytest.raises(kind, match=re.escape(words)) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert list(here.iterdir()) == []


def test_the_names_of_the_package_are_there() -> None:
    assert set(bpfree.__all__) <= set(dir(bpfree))
    assert bpfree.compare is compare
    assert make("backprop") == Backprop()
