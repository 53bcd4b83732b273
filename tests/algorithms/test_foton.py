"""FOTON: the theorem, the low-memory form, bad input, the schedule of its upkeep."""

from __future__ import annotations

import copy
import math
import warnings

import pytest
import torch

from bpfree.algorithms import Backprop, Foton, NotOrthogonalWarning, _gather, check_net, step
from bpfree.bench.counting import ApartCount, apart_flops
from bpfree.data import Batch
from bpfree.errors import UsageError
from bpfree.meter import count_flops, live_memory
from bpfree.nets import Chain, mlp
from bpfree.numerics.orthogonal import METHODS, defect
from bpfree.testing.bench import RuleOnNet, make_batch

INPUTS, CLASSES = 20, 5
NARROWING = (18, 18, 15, 12, 12, 9)
PLAIN = {"optimiser": "sgd", "momentum": 0.0, "lr": 1.0}


def batch(n: int = 11, index: int = 0, inputs: int = INPUTS) -> Batch:
    return make_batch(n, index=index, in_shape=(inputs,), n_classes=CLASSES)


def moved(rule: Foton | Backprop, net: Chain, examples: Batch) -> list[torch.Tensor]:
    """What one plain step takes away from every parameter of a copy of ``net``."""
    net = copy.deepcopy(net)
    values = {name: value.clone() for name, value in net.state_dict().items()}
    state = rule.init(net, torch.Generator().manual_seed(0))
    net.load_state_dict(values)
    step(rule, net, state, examples, rule.phases(net)[0])
    return [values[name] - value.detach() for name, value in net.named_parameters()]


def orthogonal_net(widths: tuple[int, ...], activation: str = "identity", rule: Foton | None = None) -> Chain:
    """As FOTON draws it, with biases that are not zero."""
    net = mlp(INPUTS, widths, CLASSES, activation).double()
    generator = torch.Generator().manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotOrthogonalWarning)
        (rule or Foton()).init(net, generator)
    for block in net:
        torch.nn.init.normal_(block.linear.bias, generator=generator)
    return net


@pytest.mark.parametrize("memory", ["standard", "low"])
@pytest.mark.parametrize("eps", [1.0, 0.01])
@pytest.mark.parametrize("n", [11, 1])
def test_linear_orthonormal_narrowing_net_gets_backprops_gradient(memory: str, eps: float, n: int) -> None:
    """Depth 6, output free, biases included: every block's update is the gradient."""
    net = orthogonal_net(NARROWING)
    examples = batch(n)
    rule = Foton(memory=memory, eps=eps, orthogonalise_by="none", **PLAIN)
    ours, theirs = moved(rule, net, examples), moved(Backprop(**PLAIN), net, examples)
    # the feedback that init composed is that of the same weights: init draws from the same seed
    for mine, gradient in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, gradient, rtol=0, atol=1e-12 / min(1.0, eps))


@pytest.mark.parametrize("widths", [(30, 25, 18, 15, 12, 9), (18, 18, 19, 12, 12, 9)], ids=["at once", "by one"])
def test_a_widening_net_does_not(widths: tuple[int, ...]) -> None:
    """From the block that widens on, the update differs."""
    net, examples = orthogonal_net(widths), batch()
    ours, theirs = moved(Foton(orthogonalise_by="none", **PLAIN), net, examples), moved(Backprop(**PLAIN), net, examples)
    first = next(k for k, width in enumerate(widths) if width > (INPUTS, *widths)[k])
    for k in range(first, len(widths)):
        assert not torch.allclose(ours[2 * k], theirs[2 * k], rtol=0, atol=1e-6)
    for k in range(first):
        assert torch.allclose(ours[2 * k], theirs[2 * k], rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "leaky-relu", "tanh"])
@pytest.mark.parametrize(("optimiser", "dropout"), [("adam", 0.0), ("sgd", 0.3), ("rms", 0.0)])
def test_low_memory_form_makes_the_same_steps(activation: str, optimiser: str, dropout: float) -> None:
    rules = [
        Foton(memory=memory, optimiser=optimiser, orthogonalise_every=2, lr=0.01, dropout=dropout)
        for memory in ("standard", "low")
    ]
    benches = [RuleOnNet.start(rule, mlp(INPUTS, (16, 12, 10), CLASSES, activation).double()) for rule in rules]
    for bench in benches:
        bench.steps([8, 8, 5, 1, 8])
    expected = benches[0].values()
    for name, value in benches[1].values().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-9)


def test_live_bytes_of_the_low_memory_form_are_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gather, "GATHER_BYTES", 0)  # as on a net that is not small
    peaks = {}
    for memory in ("standard", "low"):
        for depth in (2, 50):
            bench = RuleOnNet.start(Foton(memory=memory, orthogonalise_every=1000), mlp(64, (64,) * depth, 10, "tanh"))
            bench.steps([64])
            examples = bench.batch(64, 1)
            peaks[memory, depth] = live_memory(lambda b=bench, e=examples: b.step(e)).peak_bytes
    one_activity = 64 * 64 * 4
    assert peaks["low", 50] == peaks["low", 2]
    assert peaks["standard", 50] - peaks["standard", 2] >= 47 * one_activity


def test_first_step_on_relu_by_hand() -> None:
    """One hidden block, two examples, written out."""
    net = mlp(4, (3,), 2, "relu").double()
    rule = Foton(**PLAIN, eps=0.5, orthogonalise_by="none")
    bench = RuleOnNet.start(rule, net)
    w, b = bench.net[0].linear.weight.detach().clone(), torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    bench.net[0].linear.bias.detach().copy_(b)
    v = bench.net.output.weight.detach().clone()
    examples = make_batch(2, in_shape=(4,), n_classes=2)
    x, y = examples.x.clone(), torch.nn.functional.one_hot(examples.y, 2).double()
    a = (x @ w.t() + b).clamp_min(0)
    error = torch.softmax(a @ v.t(), 1) - y
    shifted = ((x - 0.5 * error @ v @ w) @ w.t() + b).clamp_min(0)
    delta = (a - shifted) / (0.5 * 2)
    loss = bench.step(examples)
    assert float(loss) == pytest.approx(float(-torch.log_softmax(a @ v.t(), 1)[torch.arange(2), examples.y].mean()))
    assert torch.allclose(w - bench.net[0].linear.weight, delta.t() @ x)
    assert torch.allclose(b - bench.net[0].linear.bias, delta.sum(0))
    assert torch.allclose(v - bench.net.output.weight, error.t() @ a / 2)


@pytest.mark.parametrize("by", ["bjorck", "newton-schulz", "svd"])
def test_rows_are_kept_orthonormal(by: str) -> None:
    bench = RuleOnNet.start(
        Foton(orthogonalise_by=by, orthogonalise_every=2, lr=3e-3, output="orthonormal"), mlp(30, (25, 20), 5)
    )
    bench.steps([16] * 20)
    assert max(float(defect(w)) for w in _weights(bench)) < 1e-3
    loose = RuleOnNet.start(Foton(orthogonalise_by="none", lr=3e-3), mlp(30, (25, 20), 5))
    loose.steps([16] * 20)
    assert min(float(defect(w)) for w in _weights(loose)[:-1]) > 1e-2


def _weights(bench: RuleOnNet) -> list[torch.Tensor]:
    return [p.detach() for name, p in bench.net.named_parameters() if name.endswith("weight")]


def test_upkeep_runs_when_it_is_due_and_the_count_outlives_a_checkpoint() -> None:
    """Every third step; a state loaded after step two orthogonalises at its next."""
    rule = Foton(orthogonalise_every=3, refresh_every=2, lr=0.01)
    bench = RuleOnNet.start(rule, mlp(12, (10, 8), 4))
    defects, feedback = [], []
    for k in range(6):
        bench.steps([8], first=k)
        defects.append(float(defect(_weights(bench)[0])))
        feedback.append(bench.state.feedback.clone())
        if k == 1:
            kept = copy.deepcopy((bench.net.state_dict(), bench.state.state_dict()))
    assert defects[2] < defects[1] and defects[5] < defects[4]
    assert defects[1] > defects[0] and defects[3] > defects[2]
    assert [torch.equal(feedback[k], feedback[k + 1]) for k in range(5)] == [False, True, False, True, False]
    again = RuleOnNet.start(rule, mlp(12, (10, 8), 4), seed=7)
    again.net.load_state_dict(kept[0])
    again.state.load_state_dict(kept[1])
    assert again.state.count.value == 2
    again.steps([8], first=2)
    assert float(defect(_weights(again)[0])) == defects[2]


def test_the_count_stays_in_host_memory() -> None:
    state = Foton().init(mlp(6, (5,), 3), torch.Generator().manual_seed(0))
    state.to("meta")
    assert state.count.steps.device.type == "cpu"
    assert state.feedback.device.type == "meta"


def test_widening_warns_once_and_names_the_block() -> None:
    with pytest.warns(NotOrthogonalWarning, match="block 1 widens from 8 to 12") as seen:
        check_net(Foton(), mlp(10, (8, 12, 12), 4))
    assert len(seen) == 1
    assert "guarantee" in str(seen[0].message)
    assert "\n" not in str(seen[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_net(Foton(), mlp(10, (10, 8), 4))
        check_net(Foton(), mlp(10, (3,), 4))
    with pytest.warns(NotOrthogonalWarning, match="the output widens from 3 to 4"):
        check_net(Foton(output="orthonormal"), mlp(10, (3,), 4))


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_narrow_numbers_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(UsageError, match="cancels; use float32"):
        check_net(Foton(), mlp(10, (8,), 4).to(dtype))


@pytest.mark.parametrize("field", ["orthogonalise_every", "orthogonalise_steps", "refresh_every"])
def test_zero_is_refused(field: str) -> None:
    with pytest.raises(UsageError, match=f"{field} must be a whole number at least 1, got 0"):
        Foton(**{field: 0})


def test_rms_normalised_updates_have_one_size_in_every_block() -> None:
    """At learning rate 1 every matrix moves by a root mean square of 1 per entry."""
    net = orthogonal_net((18, 12, 9), "relu")
    rule = Foton(optimiser="rms", momentum=0.0, lr=1.0, orthogonalise_by="none")
    for change in moved(rule, net, batch()):
        assert math.isclose(float(change.square().mean().sqrt()), 1.0, rel_tol=1e-9)


@pytest.mark.parametrize(("memory", "passes"), [("standard", 3), ("low", 4)])
def test_counted_operations_are_the_formula_of_the_docstring(memory: str, passes: int) -> None:
    """n passes F, less the output's second and third product, and K F for the feedback, E F for the shift."""
    widths, n = (18, 12), 11
    bench = RuleOnNet.start(Foton(memory=memory, orthogonalise_every=100), mlp(INPUTS, widths, CLASSES))
    hidden = INPUTS * 18 + 18 * 12
    output = 12 * CLASSES
    macs = n * (passes * hidden + 2 * output + CLASSES * INPUTS) + CLASSES * hidden
    examples = bench.batch(n)
    assert count_flops(lambda: bench.step(examples)) == 2 * macs


def test_upkeep_is_counted_too() -> None:
    """One Björck step on a wide matrix: 2 o² i multiply-adds, and eight products with the Gram matrix for the scale."""
    bench = RuleOnNet.start(Foton(), mlp(INPUTS, (18, 12), CLASSES))
    macs = sum(2 * o * o * i + 8 * o * o for o, i in ((18, INPUTS), (12, 18)))
    counted = {by: apart_flops(Foton(orthogonalise_by=by), bench.net, bench.state, bench.batch(4)) for by in METHODS}
    assert counted["bjorck"] == ApartCount("orthogonalise", 10, 2 * macs)
    assert counted["none"] is None
    for by in ("newton-schulz", "svd"):
        exact = counted[by]
        assert exact is not None
        assert exact.flops > 2 * macs


def test_masks_are_the_same_in_both_passes() -> None:
    """With no feedback both passes agree, dropout or not, and hidden weights do not move."""
    bench = RuleOnNet.start(Foton(dropout=0.5, orthogonalise_by="none"), mlp(30, (20, 20), 4))
    bench.state.feedback.zero_()
    before = [w.clone() for w in _weights(bench)]
    bench.steps([16])
    assert [torch.equal(old, new) for old, new in zip(before, _weights(bench), strict=True)] == [True, True, False]


def test_backprops_controls_start_from_fotons_net() -> None:
    """Bit for bit the net that FOTON draws from the same seed; kept, its rows stay orthonormal, else they do not."""
    maker = mlp(30, (25, 20), 5)
    foton = RuleOnNet.start(Foton(), maker)
    for orthogonal, bound in (("init", (1e-2, 10.0)), ("kept", (0.0, 1e-3))):
        bench = RuleOnNet.start(Backprop(orthogonal=orthogonal, orthogonalise_every=2, lr=3e-3), maker)
        for ours, theirs in zip(bench.net.parameters(), foton.net.parameters(), strict=True):
            assert torch.equal(ours, theirs)
        bench.steps([16] * 20)
        assert bound[0] <= max(float(defect(w)) for w in _weights(bench)[:-1]) < bound[1]


def test_a_control_kept_orthogonal_only_adds_the_upkeep() -> None:
    """Until the first orthogonalisation the steps are those of the net that is orthogonal at the start only."""
    rules = (Backprop(orthogonal="init"), Backprop(orthogonal="kept", orthogonalise_every=4))
    first, second = (RuleOnNet.start(rule, mlp(12, (10, 8), 4)) for rule in rules)
    for k in range(4):
        for ours, theirs in zip(first.net.parameters(), second.net.parameters(), strict=True):
            assert torch.equal(ours, theirs)
        first.steps([8], first=k)
        second.steps([8], first=k)
    assert not torch.equal(_weights(first)[0], _weights(second)[0])


def test_backprops_controls_refuse_what_foton_refuses() -> None:
    rule = Backprop(orthogonal="kept")
    with pytest.warns(NotOrthogonalWarning, match="backprop: block 1 widens from 8 to 12"):
        check_net(rule, mlp(10, (8, 12), 4))
    with pytest.raises(UsageError, match="bfloat16, in which no rows can be made orthonormal; use float32"):
        check_net(rule, mlp(10, (8,), 4).to(torch.bfloat16))
    with pytest.raises(UsageError, match="orthogonalise_every must be a whole number at least 1, got 0"):
        Backprop(orthogonal="kept", orthogonalise_every=0)
    check_net(Backprop(), mlp(10, (8, 12), 4).to(torch.bfloat16))
