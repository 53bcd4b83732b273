"""Filter-normalised slices and sharpness, by value and by the theorem that they are for."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from landscape_models import drawn, material, small_net, surface_of

from bpfree.analysis import Sharpness, Slices, Surface, line, random_slices, sharpness
from bpfree.analysis.slices import filter_direction
from bpfree.errors import UsageError
from bpfree.models import Model
from bpfree.nets import DenseBlock


def rescaled(model: Model, factor: float) -> Model:
    """The first layer times ``factor``, the second divided by it: a net of ReLUs computes the same."""
    first, second = model.net
    assert isinstance(first, DenseBlock)
    assert isinstance(second, DenseBlock)
    with torch.no_grad():
        first.linear.weight.mul_(factor)
        first.linear.bias.mul_(factor)
        second.linear.weight.div_(factor)
    return model


def test_every_filter_of_a_direction_has_the_norm_of_the_models() -> None:
    surface = surface_of(small_net())
    direction = filter_direction(surface, surface.origin, 3)
    for part in surface.parts:
        rows = part.of(direction)
        if part.name.endswith("weight"):
            torch.testing.assert_close(rows.norm(dim=1), part.of(surface.origin).norm(dim=1), rtol=1e-12, atol=0)
            cosines = F.cosine_similarity(rows, part.of(surface.origin))
            assert float(cosines.abs().max()) < 0.999  # another direction, not the weights themselves
        else:
            assert not rows.any()
    assert torch.equal(direction, filter_direction(surface, surface.origin, 3))
    assert not torch.equal(direction, filter_direction(surface, surface.origin, 4))


def test_slices_do_not_see_the_scale_of_a_layer() -> None:
    """Li et al. 2018, section 4; SAM's sharpness and gradient do see it, its filter-normalised form does not."""
    plain, scaled = Surface(drawn(small_net()), material()), Surface(rescaled(drawn(small_net()), 7.0), material())
    one, other = (random_slices(s, s.origin, directions=3, points=5) for s in (plain, scaled))
    torch.testing.assert_close(torch.tensor(one.losses), torch.tensor(other.losses), rtol=1e-5, atol=1e-6)
    assert other.at_zero == pytest.approx(one.at_zero, rel=1e-12)
    assert other.rise == pytest.approx(one.rise, rel=1e-9)
    sharp, rescaled_sharp = (sharpness(s, s.origin) for s in (plain, scaled))
    assert rescaled_sharp.filter_normalised == pytest.approx(sharp.filter_normalised, rel=1e-9)
    assert rescaled_sharp.plain != pytest.approx(sharp.plain, rel=0.1)


def test_the_excess_on_a_line_sees_the_scale_of_one_net_and_not_that_of_both() -> None:
    other = drawn(small_net(), seed=1)
    alike = [Surface(drawn(small_net()), material()), Surface(other, material())]
    both = [Surface(rescaled(drawn(small_net()), 7.0), material()), Surface(rescaled(other, 7.0), material())]
    pairs = (alike, both, (alike[0], both[1]))
    before, after, of_one = (line(one, one.origin, last.origin, 3).excess[1] for one, last in pairs)
    assert after == pytest.approx(before, rel=1e-9)
    assert of_one != pytest.approx(before, rel=0.1)


def test_a_slice_is_the_loss_along_its_direction() -> None:
    surface = surface_of(small_net())
    slices = random_slices(surface, surface.origin, directions=2, points=5, radius=0.5, seed=9)
    assert slices.distances == (-0.5, -0.25, 0.0, 0.25, 0.5)
    assert [losses[2] for losses in slices.losses] == [slices.at_zero] * 2 == [surface.loss(surface.origin)] * 2
    assert slices.losses[0] != slices.losses[1]
    again = random_slices(surface, surface.origin, directions=1, points=5, radius=0.5, seed=9)
    assert again.losses[0] == slices.losses[0]  # the first direction, however many follow


def test_mean_spread_rise_and_width_by_hand() -> None:
    slices = Slices((-2.0, -1.0, 0.0, 1.0, 2.0), ((5.0, 2.0, 1.0, 1.0, 3.0), (3.0, 2.0, 1.0, 3.0, 5.0)), 1.0)
    assert slices.mean == [4.0, 2.0, 1.0, 2.0, 4.0]
    assert slices.sd == pytest.approx([2**0.5, 0.0, 0.0, 2**0.5, 2**0.5])
    assert slices.rise == pytest.approx(13 / 5 - 1)
    # One nat above: 1.5 and 1 on the first line (right, left), 0.5 and 1 on the second.
    assert slices.width(1.0) == pytest.approx((1.5 + 1.0 + 0.5 + 1.0) / 4)
    assert slices.width(2.5) is None  # the first line ends at 2 above on its right
    assert Slices((1.0,), ((2.0,),), 1.0).sd == [0.0]


def test_sharpness_of_a_linear_softmax_by_brute_force() -> None:
    """The gradient by central differences of every parameter of a loss that is written out, and both steps by hand."""
    net, examples = small_net((2,), "identity"), material(12)
    surface = Surface(drawn(net), examples)

    def loss(vector: torch.Tensor) -> float:
        w, b, m, c = vector.split([12, 2, 6, 3])
        hidden = examples.x @ w.reshape(2, 6).t() + b
        return float(F.cross_entropy(hidden @ m.reshape(3, 2).t() + c, examples.y))

    point, rho = surface.origin, 0.3
    steps = torch.eye(len(point), dtype=torch.float64) * 1e-6
    gradient = torch.tensor([(loss(point + step) - loss(point - step)) / 2e-6 for step in steps], dtype=torch.float64)
    norms = torch.zeros(len(point), dtype=torch.float64)
    norms[:12] = point[:12].reshape(2, 6).norm(dim=1).repeat_interleave(6)
    norms[14:20] = point[14:20].reshape(3, 2).norm(dim=1).repeat_interleave(2)
    plain = loss(point + rho * gradient / gradient.norm()) - loss(point)
    filtered = loss(point + rho * norms**2 * gradient / (norms * gradient).norm()) - loss(point)
    seen = sharpness(surface, point, rho)
    assert seen == Sharpness(
        rho,
        pytest.approx(plain, rel=1e-7),
        pytest.approx(filtered, rel=1e-7),
        pytest.approx(float(gradient.norm()), rel=1e-7),
    )
    assert seen.plain > 0


def test_no_gradient_no_sharpness() -> None:
    """Where nothing slopes, nothing is divided by zero."""
    surface = surface_of(small_net())
    point = torch.zeros_like(surface.origin)
    point[-1] = 1e3  # one class is certain
    examples = material()
    certain = Surface(drawn(small_net()), type(examples)(examples.x, torch.full_like(examples.y, 2), examples.train_x))
    assert sharpness(certain, point) == Sharpness(0.05, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"directions": 0}, "directions must be at least 1, got 0"),
        ({"points": 0}, "points must be at least 2, got 0"),
        ({"radius": -1.0}, "the radius must be above 0, got -1"),
    ],
    ids=["directions", "points", "radius"],
)
def test_refused(options: dict[str, float], words: str) -> None:
    surface = surface_of(small_net())
    with pytest.raises(UsageError, match=words):
        random_slices(surface, surface.origin, **options)
    with pytest.raises(UsageError, match="rho must be above 0, got -1"):
        sharpness(surface, surface.origin, -1.0)
