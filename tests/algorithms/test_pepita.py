"""PEPITA: its formulas written out, masks, mirroring, bad input."""

from __future__ import annotations

import pytest
import torch

from bpfree.algorithms import Pepita, check_net
from bpfree.errors import UsageError
from bpfree.nets import Chain, mlp
from bpfree.numerics.feedback import compose
from bpfree.testing.bench import ForeignBlock, RuleOnNet


def weights(net: Chain) -> list[torch.Tensor]:
    return [p.detach() for name, p in net.named_parameters() if name.endswith("weight")]


@pytest.mark.parametrize("sign", ["minus", "plus"])
@pytest.mark.parametrize("presynaptic", ["modulated", "standard", "mixed"])
def test_update_is_the_formula(sign: str, presynaptic: str) -> None:
    rule = Pepita(sign=sign, presynaptic=presynaptic, dropout=0.0, optimiser="sgd", momentum=0.0, lr=1.0, feedback_scale=2.0)
    bench = RuleOnNet.start(rule, mlp(6, (5, 4), 3, "tanh").double())
    before = [p.detach().clone() for p in bench.net.parameters()]
    w1, _, w2, _, v, _ = before
    examples = bench.batch(7)
    x, y = examples.x.clone(), torch.nn.functional.one_hot(examples.y, 3).double()

    def activities(inputs: torch.Tensor) -> list[torch.Tensor]:
        first = torch.tanh(inputs @ w1.t())
        return [inputs, first, torch.tanh(first @ w2.t())]

    standard = activities(x)
    error = torch.softmax(standard[2] @ v.t(), 1) - y
    shift = error @ bench.state.feedback
    modulated = activities(x - shift if sign == "minus" else x + shift)
    expected = []
    for k in (1, 2):
        delta = standard[k] - modulated[k]
        if presynaptic == "mixed":
            expected.append((standard[k].t() @ standard[k - 1] - modulated[k].t() @ modulated[k - 1]) / 7)
        else:
            expected.append(delta.t() @ (modulated if presynaptic == "modulated" else standard)[k - 1] / 7)
        expected.append(delta.sum(0) / 7)
    expected += [error.t() @ (standard if presynaptic == "standard" else modulated)[2] / 7, error.sum(0) / 7]
    bench.step(examples)
    for old, new, change in zip(before, bench.net.parameters(), expected, strict=True):
        torch.testing.assert_close(old - new.detach(), change, rtol=0, atol=1e-12)


def test_feedback_has_the_papers_size() -> None:
    state = Pepita().init(mlp(600, (20,), 10), torch.Generator().manual_seed(0))
    limit = 0.2 * (6 / 600) ** 0.5
    assert float(state.feedback.abs().max()) <= limit
    assert float(state.feedback.std()) == pytest.approx(limit / 3**0.5, rel=0.03)


def test_masks_are_the_same_in_both_passes() -> None:
    """Without an error signal (feedback zero) both passes agree, dropout or not, and hidden weights do not move."""
    bench = RuleOnNet.start(Pepita(dropout=0.5, lr=1.0), mlp(30, (20, 20), 4))
    bench.state.feedback.zero_()
    before = [w.clone() for w in weights(bench.net)]
    bench.steps([16])
    after = weights(bench.net)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
    assert not torch.equal(before[2], after[2])


def test_dropout_keeps_the_share_and_the_mean() -> None:
    bench = RuleOnNet.start(Pepita(dropout=0.25), mlp(6, (4000,), 4))
    (mask,) = bench.algorithm._masks(bench.net, bench.state, bench.batch(8))
    assert mask is not None
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert float(mask.mean()) == pytest.approx(1.0, abs=0.02)


def test_mirroring_turns_the_feedback_towards_the_composed_weights() -> None:
    """The cosine of F and V W_L … W₁ rises from about 0 with the steps of mirroring; the deviation of F stays."""
    cosines, deviations = [], []
    for steps in (0, 100, 400):
        rule = Pepita(mirroring=True, premirror_steps=steps, mirror_lr=1.0, mirror_every=1_000_000, lr=1e-12)
        bench = RuleOnNet.start(rule, mlp(40, (30, 20), 5))
        bench.net.output.weight.detach().normal_(generator=torch.Generator().manual_seed(1))
        bench.steps([8])
        feedback, product = bench.state.feedback, compose(weights(bench.net))
        cosines.append(float((feedback * product).sum() / (feedback.norm() * product.norm())))
        deviations.append(float(feedback.std()))
    assert abs(cosines[0]) < 0.25
    assert cosines[0] + 0.3 < cosines[1] < cosines[2]
    assert cosines[2] > 0.8
    assert deviations == pytest.approx([0.2 * (2 / 40) ** 0.5] * 3, rel=1e-4)


def test_mirroring_goes_on_during_training() -> None:
    bench = RuleOnNet.start(Pepita(mirroring=True, premirror_steps=0, mirror_every=2), mlp(6, (5,), 3))
    feedback = [bench.state.feedback.clone()]
    for k in range(4):
        bench.steps([8], first=k)
        feedback.append(bench.state.feedback.clone())
    assert [torch.equal(feedback[k], feedback[k + 1]) for k in range(4)] == [True, False, True, False]


def test_orthogonal_initialisation() -> None:
    net = mlp(12, (8, 6), 4)
    Pepita(initialisation="orthogonal").init(net, torch.Generator().manual_seed(0))
    for w in weights(net):
        assert torch.allclose(w @ w.t(), torch.eye(len(w)), atol=1e-5)


def test_bad_input() -> None:
    with pytest.raises(UsageError, match="needs sign=minus, got plus"):
        Pepita(mirroring=True, sign="plus")
    with pytest.raises(UsageError, match="cancels; use float32"):
        check_net(Pepita(), mlp(6, (5,), 3).to(torch.bfloat16))
    with pytest.raises(UsageError, match="block 0 is a ForeignBlock"):
        check_net(Pepita(), Chain([ForeignBlock((6,), 5)], 3))
