"""Formulas of the numerics against plain Python: defaults, constants, dtypes, and values that vanish or are very small."""

from __future__ import annotations

import math

import pytest
import torch

from bpfree.numerics import dropout, feedback, goodness, negatives, orthogonal, peers, ridge, similarity, spatial, streams
from bpfree.numerics import losses as losses_
from bpfree.numerics.activations import ACTIVATIONS
from bpfree.numerics.handover import Handover, taken
from bpfree.numerics.local import affine_gradients, dense_activity
from bpfree.numerics.orthogonal_conv import bjorck_kernel
from bpfree.numerics.sparsemax import sparsemax, sparsemax_loss, sparsemax_residual
from bpfree.numerics.updates import ADAM_BETAS, ADAM_EPS, decay_, sgd_step_

F64 = torch.float64
MASK = (1 << 64) - 1


def mix(value: int) -> int:
    """SplitMix64's finaliser, Stafford's variant 13."""
    value &= MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def expected_uniform(key: int, n: int, salt: int) -> list[float]:
    start = mix(key + mix(salt + 1))
    return [(mix(start + k * 0x9E3779B97F4A7C15) >> 40) * 2.0**-24 for k in range(1, n + 1)]


KEY = torch.tensor(-1234567890123)


@pytest.mark.parametrize("salt", [0, 1, 7])
def test_streams_against_whole_numbers_of_python(salt: int) -> None:
    first = expected_uniform(-1234567890123, 6, salt)
    drawn = streams.uniform(KEY, (2, 3), salt=salt)
    assert (drawn.dtype, drawn.flatten().tolist()) == (torch.float32, first)
    assert streams.integers(KEY, (6,), 5, salt=salt).tolist() == [int(5 * u) for u in first]
    one, two = (expected_uniform(-1234567890123, 6, 2 * salt + offset) for offset in (1_000_003, 1_000_004))
    normal = [math.sqrt(-2 * math.log1p(-u)) * math.cos(2 * math.pi * v) for u, v in zip(one, two, strict=True)]
    assert streams.normal(KEY, (6,), salt=salt, dtype=F64).tolist() == pytest.approx(normal)
    assert streams.normal(KEY, (6,), salt=salt).dtype == torch.float32
    if salt == 0:
        assert streams.uniform(KEY, (6,), dtype=F64).tolist() == first
        assert streams.normal(KEY, (6,), dtype=F64).tolist() == pytest.approx(normal)
        assert streams.integers(KEY, (6,), 5).tolist() == [int(5 * u) for u in first]


def test_keys_fold_their_parts_in_order() -> None:
    key = 0
    for part in (3, -1, 2**40):
        key = mix(key + 0x9E3779B97F4A7C15 + (part & MASK))
    assert streams.stream_key(3, -1, 2**40) == (key - (1 << 64) if key >> 63 else key)
    assert streams.stream_key(3, 1) != streams.stream_key(1, 3)


def test_masks_have_a_salt_for_each_block() -> None:
    rate = torch.tensor(0.25, dtype=F64)
    for block in (0, 3):
        kept = [u >= 0.25 for u in expected_uniform(-1234567890123, 8, 1 + block)]
        mask = dropout.consistent_mask(KEY, (2, 4), block, rate, F64)
        assert mask.flatten().tolist() == [1 / 0.75 if keep else 0.0 for keep in kept]


H = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0], [0.0, 4.0]], dtype=F64)


def test_goodness_and_its_losses() -> None:
    g = [5.0, 10.0, 0.25, 16.0]
    assert goodness.goodness(H).tolist() == g
    assert goodness.goodness(H, "mean").tolist() == [value / 2 for value in g]
    residual = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=F64)
    assert torch.equal(goodness.goodness_gradient(H, residual), 2 * residual.unsqueeze(1) * H)
    assert torch.equal(goodness.goodness_gradient(H, residual, "mean"), residual.unsqueeze(1) * H)

    def softplus(x: float) -> float:
        return math.log1p(math.exp(x))

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    values = torch.tensor(g, dtype=F64)
    for temperature in (1.0, 4.0):
        m = [(each - 6.0) / temperature for each in g]
        options = () if temperature == 1.0 else (temperature,)
        loss = (softplus(-m[0]) + softplus(-m[1]) + softplus(m[2]) + softplus(m[3])) / 4
        assert goodness.logistic_loss(values, 6.0, *options).item() == pytest.approx(loss)
        labels = (1, 1, 0, 0)
        expected = [(sigmoid(each) - label) / (4 * temperature) for each, label in zip(m, labels, strict=True)]
        assert goodness.logistic_residual(values, 6.0, *options).tolist() == pytest.approx(expected)
    gaps = (5.0 - 0.25, 10.0 - 16.0)
    assert goodness.pair_loss(values, 0.5).item() == pytest.approx(sum(softplus(-0.5 * gap) for gap in gaps) / 2)
    pulls = [0.5 * sigmoid(-0.5 * gap) / 2 for gap in gaps]
    assert goodness.pair_residual(values, 0.5).tolist() == pytest.approx([-pulls[0], -pulls[1], *pulls])


def test_lengths_have_a_little_added() -> None:
    """Rows of root mean square 1e-8 and 0 are divided by 2e-8 and 1e-8."""
    x = torch.tensor([[1e-8, -1e-8], [0.0, 0.0], [3.0, 4.0]], dtype=F64)
    rms = math.sqrt(12.5)
    assert goodness.normal_length(x).tolist() == pytest.approx([2e-8, 1e-8, rms + 1e-8], rel=1e-12)
    assert goodness.length_normalise(x).flatten().tolist() == pytest.approx([0.5, -0.5, 0.0, 0.0, 3 / rms, 4 / rms])
    maps = torch.arange(8, dtype=F64).reshape(1, 2, 2, 2)
    assert goodness.length_normalise(maps).square().mean().item() == pytest.approx(1.0)


def test_peers() -> None:
    mean = torch.tensor([0.5, 0.5], dtype=F64)
    assert (peers.PEER_START, peers.PEER_MOMENTUM) == (0.5, 0.9)
    peers.update_mean_(mean, torch.tensor([[1.0, 2.0], [3.0, 8.0]], dtype=F64))
    assert mean.tolist() == pytest.approx([0.9 * 0.5 + 0.1 * 2.0, 0.9 * 0.5 + 0.1 * 5.0])
    assert peers.peer_loss(mean).item() == pytest.approx(0.15**2)
    assert peers.peer_gradient(mean, 4).tolist() == pytest.approx([2 * 0.1 / 8 * -0.15, 2 * 0.1 / 8 * 0.15])


def test_one_step_of_orthonormalisation_by_default() -> None:
    w = torch.tensor([[0.9, 0.1], [-0.2, 0.8]], dtype=F64)
    g = w @ w.t()
    once = 1.5 * w - 0.5 * g @ w
    assert torch.allclose(orthogonal.bjorck(w), orthogonal.bjorck(w, 1))
    assert torch.allclose(orthogonal.newton_schulz(w), orthogonal.newton_schulz(w, 1))
    assert not torch.allclose(orthogonal.bjorck(w), orthogonal.bjorck(w, 2))
    assert torch.allclose(orthogonal.orthonormalise(w, "bjorck"), orthogonal.bjorck(w, 1))
    assert torch.allclose(orthogonal.orthonormalise(w, "newton-schulz"), orthogonal.newton_schulz(w, 1))
    assert torch.allclose(orthogonal.orthonormalise(w, "svd"), orthogonal.polar(w))
    assert orthogonal.orthonormalise(w, "none") is w
    assert torch.allclose(once, orthogonal.bjorck(w), atol=0.2)
    kernel = torch.arange(36, dtype=F64).reshape(2, 2, 3, 3) / 40
    assert torch.equal(bjorck_kernel(kernel, 1), bjorck_kernel(kernel, 1, 1))
    assert not torch.allclose(bjorck_kernel(kernel, 1), bjorck_kernel(kernel, 1, 2))


def test_blurs_of_a_mask() -> None:
    """Six times [¼, ½, ¼] with repeated ends; rows add up to 1."""
    once = torch.tensor([[0.75, 0.25, 0.0], [0.25, 0.5, 0.25], [0.0, 0.25, 0.75]])
    assert torch.allclose(negatives._blur(3, torch.device("cpu")), torch.linalg.matrix_power(once, 6))
    bits = torch.tensor([1.0 if u < 0.5 else 0.0 for u in expected_uniform(-1234567890123, 24, 1)]).reshape(2, 4, 3)
    tall, wide = (negatives._blur(size, torch.device("cpu")) for size in (4, 3))
    expected = ((tall @ bits @ wide.t()) > 0.5).to(F64).unsqueeze(1)
    assert torch.equal(negatives.smooth_masks(KEY, 2, 4, 3, F64), expected)
    x = torch.arange(2 * 12, dtype=F64).reshape(2, 1, 4, 3)
    assert torch.equal(negatives.hybrid_images(x, KEY), expected * x + (1 - expected) * x.flip(0))
    assert torch.equal(negatives.hybrid_images(x[:1], KEY), x[:1])


def test_wrong_labels() -> None:
    y = torch.tensor([0, 1, 2, 2])
    draws = [int(2 * u) for u in expected_uniform(-1234567890123, 4, 0)]
    assert negatives.wrong_labels(y, 3, KEY).tolist() == [(int(label) + 1 + k) % 3 for label, k in zip(y, draws, strict=True)]
    scores = torch.tensor([[9.0, 1.0, 0.0], [1.0, 9.0, 2.0], [3.0, 0.0, 9.0], [0.0, 3.0, 9.0]], dtype=F64)
    chosen = []
    for row, label, u in zip(scores.tolist(), y.tolist(), expected_uniform(-1234567890123, 4, 0), strict=True):
        weights = [0.0 if k == label else math.exp(score) for k, score in enumerate(row)]
        place, total = u * sum(weights), 0.0
        for k, weight in enumerate(weights):
            total += weight
            if total > place:
                chosen.append(k)
                break
    assert negatives.hard_labels(scores, y, KEY).tolist() == chosen


def test_losses_and_narrow_types() -> None:
    scores, y = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=F64), torch.tensor([0, 0])
    p = [1 / (1 + math.exp(-1)), 1 / (1 + math.exp(2))]
    assert losses_.cross_entropy(scores, y).item() == pytest.approx(-(math.log(p[0]) + math.log(p[1])) / 2)
    expected = [(p[0] - 1) / 2, (1 - p[0]) / 2, (p[1] - 1) / 2, (1 - p[1]) / 2]
    assert losses_.softmax_residual(scores, y).flatten().tolist() == pytest.approx(expected)
    narrow = scores.to(torch.bfloat16)
    assert losses_.at_least_float32(narrow).dtype == losses_.cross_entropy(narrow, y).dtype == torch.float32
    assert losses_.at_least_float32(narrow.to(torch.float16)).dtype == torch.float32
    assert losses_.at_least_float32(scores) is scores
    assert losses_.softmax_residual(narrow, y).dtype == sparsemax(narrow).dtype == torch.bfloat16
    assert losses_.one_hot(y, 3, F64).tolist() == [[1.0, 0.0, 0.0]] * 2


def test_sparsemax() -> None:
    """[1, .5, -1]: two in the support, τ = (1.5 - 1) / 2; loss ½ + ½ (1 - τ² + ¼ - τ²) - z_y."""
    scores, y = torch.tensor([[1.0, 0.5, -1.0], [5.0, 0.0, 0.0]], dtype=F64), torch.tensor([1, 0])
    assert sparsemax(scores).tolist() == [[0.75, 0.25, 0.0], [1.0, 0.0, 0.0]]
    assert sparsemax_loss(scores, y).item() == pytest.approx((0.5 + 0.5 * (1 - 1 / 16 + 0.25 - 1 / 16) - 0.5) / 2)
    assert sparsemax_residual(scores, y).tolist() == [[0.375, -0.375, 0.0], [0.0, 0.0, 0.0]]
    assert not sparsemax_loss(torch.tensor([[math.nan, 0.0]]), torch.tensor([0])).isfinite()


def test_similarity() -> None:
    target = similarity.label_similarity(torch.tensor([0, 1, 0]), 3, F64)
    assert target.flatten().tolist() == pytest.approx([1, -0.5, 1, -0.5, 1, -0.5, 1, -0.5, 1])
    loss, gradient = similarity.similarity_loss_and_gradient(
        torch.tensor([[1.0, 3.0], [4.0, 2.0], [5.0, 5.0]], dtype=F64), target
    )
    u = [[-(0.5**0.5), 0.5**0.5], [0.5**0.5, -(0.5**0.5)], [0.0, 0.0]]
    r = [[sum(a * b for a, b in zip(one, two, strict=True)) for two in u] for one in u]
    assert loss.item() == pytest.approx(
        sum((r[i][j] - target[i, j].item()) ** 2 for i in range(3) for j in range(3)) / 9, rel=1e-6
    )
    assert gradient[2].tolist() == [0.0, 0.0], "a row without a direction"
    maps = torch.tensor([[[[1.0, 3.0]], [[2.0, 2.0]]]], dtype=F64)
    assert similarity.spread(maps).tolist() == [[2**0.5, 0.0]]
    slope = similarity.spread_gradient(maps, torch.tensor([[2.0, 5.0]], dtype=F64))
    assert slope.flatten().tolist() == pytest.approx([-(2**0.5), 2**0.5, 0.0, 0.0])


def test_spatial_goodness_of_maps_tokens_and_units() -> None:
    sizes = ((4, 4, 9, 9), (1, 9, 9, 9), (1, 9, 2, 9), (1, 9, 9, 2), (9, 1, 3, 3), (1, 6, 9, 9))
    assert [spatial.grid_size(*each) for each in sizes] == [1, 3, 2, 2, 1, 2]
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], dtype=F64)
    assert spatial.spatial_goodness(maps, 1).tolist() == [[7.5]]
    assert spatial.spatial_goodness(maps, 2).tolist() == [[1.0, 4.0, 9.0, 16.0]]
    one = spatial.spatial_goodness_gradient(maps, torch.tensor([[2.0]], dtype=F64), 1)
    assert one.flatten().tolist() == [1.0, 2.0, 3.0, 4.0]  # 2 a x 2 / 4
    tokens = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]], dtype=F64)
    assert spatial.spatial_goodness(tokens, 1).tolist() == [[5.0, 10.0]]
    slope = spatial.spatial_goodness_gradient(tokens, torch.tensor([[1.0, 10.0]], dtype=F64), 1)
    assert slope.flatten().tolist() == [1.0, 20.0, 3.0, 40.0]
    units = torch.tensor([[1.0, -2.0]], dtype=F64)
    assert spatial.spatial_goodness(units, 3).tolist() == [[1.0, 4.0]]
    assert spatial.spatial_goodness_gradient(units, torch.tensor([[1.0, 10.0]], dtype=F64), 3).tolist() == [[2.0, -40.0]]


def test_ridge() -> None:
    """C = diag(4, 2), mean eigenvalue 3, λ = 1/3: (C + I)⁻¹ D."""
    gram, cross = torch.zeros(2, 2, dtype=F64), torch.zeros(2, 1, dtype=F64)
    ridge.gather_(gram, cross, torch.tensor([[2.0, 0.0]], dtype=F64), torch.tensor([[5.0]], dtype=F64))
    ridge.gather_(gram, cross, torch.tensor([[0.0, 2.0**0.5]], dtype=F64), torch.tensor([[2.0**0.5]], dtype=F64))
    assert gram.flatten().tolist() == pytest.approx([4.0, 0.0, 0.0, 2.0])
    before = gram.clone()
    assert ridge.ridge_solution(gram, cross, 1 / 3).flatten().tolist() == pytest.approx([10 / 5, 2 / 3])
    assert torch.equal(gram, before)
    assert ridge.ridge_solution(torch.zeros(2, 2), torch.ones(2, 1), 1e-3).flatten().tolist() == [1.0, 1.0]


def test_feedback_matrices_have_the_asked_spread() -> None:
    like = torch.zeros(1, dtype=F64)

    def drawn(kind: str, shape: tuple[int, int] = (200, 300)) -> torch.Tensor:
        return feedback.random_feedback(shape, kind, 0.5, torch.Generator().manual_seed(0), like=like)

    uniform = drawn("uniform")
    assert uniform.abs().max().item() == pytest.approx(0.5 * 3**0.5, rel=1e-3)
    assert drawn("normal").std().item() == pytest.approx(0.5, rel=0.02)
    for shape in ((2, 5), (5, 2)):
        matrix = drawn("orthogonal", shape)
        assert matrix.square().mean().item() == pytest.approx(0.25)
    one, two, three = (torch.randn(*shape, dtype=F64) for shape in ((4, 5), (3, 4), (2, 3)))
    assert torch.allclose(feedback.compose([one, two, three]), three @ two @ one)


def test_dense_maps_and_their_gradients() -> None:
    x, w, b = (
        torch.tensor([[1.0, 2.0]], dtype=F64),
        torch.tensor([[1.0, -1.0], [2.0, 0.5]], dtype=F64),
        torch.tensor([0.5, 1.0], dtype=F64),
    )
    assert dense_activity(x, w, b, "relu").tolist() == [[0.0, 4.0]]
    assert dense_activity(x, w, None, "identity").tolist() == [[-1.0, 3.0]]
    assert dense_activity(x, w, b, "leaky-relu").tolist() == [[-0.005, 4.0]]
    dz = torch.tensor([[1.0, 10.0]], dtype=F64)
    (dw, db), dx = affine_gradients(x, dz, w, bias=True, need_input=True)
    assert (dw.tolist(), db.tolist()) == ([[1.0, 2.0], [10.0, 20.0]], [1.0, 10.0])
    assert dx is not None
    assert dx.tolist() == [[21.0, 4.0]]
    assert affine_gradients(x, dz, w, bias=False, need_input=False)[1] is None
    a = torch.tensor([[-0.01, 0.0, 2.0]], dtype=F64)
    ones = torch.ones(1, 3, dtype=F64)
    assert ACTIVATIONS["relu"].gradient(ones, a).tolist() == [[0.0, 0.0, 1.0]]
    assert ACTIVATIONS["leaky-relu"].gradient(ones, a).tolist() == [[0.01, 0.01, 1.0]]
    assert ACTIVATIONS["tanh"].gradient(ones, a).tolist() == [[1 - 0.0001, 1.0, -3.0]]


def test_updates() -> None:
    assert (ADAM_BETAS, ADAM_EPS) == ((0.9, 0.999), 1e-8)
    w = [torch.tensor([2.0, 4.0], dtype=F64)]
    decay_(w, torch.tensor(0.5, dtype=F64), torch.tensor(0.5, dtype=F64))
    assert w[0].tolist() == [1.5, 3.0]
    velocity = [torch.tensor([1.0, 0.0], dtype=F64)]
    sgd_step_(w, [torch.tensor([1.0, 2.0], dtype=F64)], velocity, torch.tensor(0.5, dtype=F64), 0.5)
    assert (velocity[0].tolist(), w[0].tolist()) == ([1.5, 2.0], [0.75, 2.0])
    with pytest.raises(ValueError, match="1 parameters need as many gradients, got 0"):
        sgd_step_(w, [], velocity, torch.tensor(0.5), 0.5)
    with pytest.raises(ValueError) as error:
        sgd_step_(w, [torch.zeros(3, dtype=F64)], velocity, torch.tensor(0.5), 0.5)
    assert str(error.value) == (
        "parameter 0 has shape (2,) and strides (1,), but number 0 of gradients has (3,) and (1,); give it in the layout of the "
        "parameter"
    )


def test_what_is_handed_over_may_be_written_over() -> None:
    tensor = torch.zeros(2)
    assert taken(tensor)[1] is False
    with torch.no_grad():
        assert taken(Handover(tensor)) == (tensor, True)
        assert taken(tensor)[1] is False
    assert taken(Handover(tensor))[1] is False
    once = Handover(tensor)
    once.take()
    with pytest.raises(IndexError):
        once.take()
