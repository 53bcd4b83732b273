"""Counter-based random streams: pure, uniform, independent."""

from __future__ import annotations

import itertools

import pytest
import torch

from bpfree.numerics import streams
from bpfree.numerics.negatives import wrong_labels
from bpfree.numerics.streams import integers, normal, stream_key, stream_keys, uniform

N = 20_000


def key(*parts: int) -> torch.Tensor:
    return torch.tensor(stream_key(*parts))


def test_a_number_depends_on_key_and_place_alone() -> None:
    torch.manual_seed(0)
    first = uniform(key(1, 2, 3), (50,))
    torch.rand(10)
    assert torch.equal(first, uniform(key(1, 2, 3), (50,)))
    assert torch.equal(first[:20], uniform(key(1, 2, 3), (20,)))  # a longer draw begins with the shorter one
    assert torch.equal(first, uniform(key(1, 2, 3), (5, 10)).flatten())


def test_drawing_leaves_torchs_generator_alone() -> None:
    before = torch.get_rng_state()
    normal(key(1), (10,))
    assert torch.equal(before, torch.get_rng_state())


def test_the_numbers_themselves_are_fixed() -> None:
    """Another version, another machine, the same stream. One part of 0 gives SplitMix64's first published output."""
    assert stream_key(0) % 2**64 == 0xE220A8397B1DCDAF
    assert stream_key(0, 0, 0) == 2558736989570252433
    assert integers(key(0, 0, 0), (8,), 10).tolist() == [2, 7, 4, 2, 0, 4, 6, 9]


@pytest.mark.parametrize("parts", [(0,), (1, 2), (2**63, 5), (-1, 0)])
def test_uniform_numbers_are_uniform(parts: tuple[int, ...]) -> None:
    """χ² over 100 bins below its 99.99 % quantile (161.3 for 99 degrees of freedom), mean and variance near theirs."""
    u = uniform(key(*parts), (N,), dtype=torch.float64)
    assert float(u.min()) >= 0.0
    assert float(u.max()) < 1.0
    counts = torch.histc(u, 100, 0.0, 1.0)
    assert float(((counts - N / 100) ** 2 / (N / 100)).sum()) < 161.3
    assert float(u.mean()) == pytest.approx(0.5, abs=4 * (1 / 12 / N) ** 0.5)


def test_streams_of_neighbouring_keys_salts_and_places_are_uncorrelated() -> None:
    """Every pair among keys that differ by one part, salts that differ by one, and a stream shifted by one place."""
    streams = [uniform(key(7, 1, k), (N,), dtype=torch.float64) for k in range(4)]
    streams += [uniform(key(7, k, 1), (N,), dtype=torch.float64) for k in (2, 3)]
    streams += [uniform(key(7, 1, 1), (N,), salt=k, dtype=torch.float64) for k in (1, 2, 3)]
    streams.append(streams[0].roll(1))
    for a, b in itertools.combinations(streams, 2):
        correlation = float(torch.corrcoef(torch.stack([a, b]))[0, 1])
        assert abs(correlation) < 5 / N**0.5


@pytest.mark.parametrize("parts", [(), (3,), (2**40, 7), (-1, 0)])
def test_keys_of_a_row(parts: tuple[int, ...]) -> None:
    assert stream_keys(parts, 50).tolist() == [stream_key(*parts, k) for k in range(50)]
    assert stream_keys(parts, 0).shape == (0,)


def test_keys_do_not_collide() -> None:
    keys = {stream_key(seed, index, batch) for seed in range(10) for index in range(20) for batch in range(50)}
    assert len(keys) == 10 * 20 * 50
    assert len({stream_key(1), stream_key(1, 0), stream_key(0, 1), stream_key(1, 1)}) == 4
    assert all(-(2**63) <= each < 2**63 for each in keys)


@pytest.mark.parametrize("high", [1, 2, 9, 1000])
def test_integers_reach_every_value_equally(high: int) -> None:
    drawn = integers(key(3), (N,), high)
    assert drawn.dtype == torch.int64
    counts = drawn.bincount(minlength=high).double()
    assert len(counts) == high
    spread = (N / high * (1 - 1 / high)) ** 0.5
    assert float((counts - N / high).abs().max()) <= 5 * spread


@pytest.mark.parametrize("shape", [(8,), (2, 4)])
def test_integers_from_another_first_one(shape: tuple[int, ...]) -> None:
    """[low, high): 1 more, of one less."""
    drawn = integers(key(0, 0, 0), shape, 10, low=1)
    assert torch.equal(drawn, integers(key(0, 0, 0), shape, 9) + 1)
    assert integers(key(0), (N,), 3, low=2).unique().tolist() == [2]


def test_normal_numbers_are_normal() -> None:
    z = normal(key(5), (N,), dtype=torch.float64)
    assert z.isfinite().all()
    assert float(z.mean()) == pytest.approx(0.0, abs=4 / N**0.5)
    assert float(z.var()) == pytest.approx(1.0, abs=4 * (2 / N) ** 0.5)
    inside = float((z.abs() < 1.959964).double().mean())
    assert inside == pytest.approx(0.95, abs=0.01)
    other = normal(key(5), (N,), salt=1, dtype=torch.float64)
    assert abs(float(torch.corrcoef(torch.stack([z, other]))[0, 1])) < 5 / N**0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_number_formats(dtype: torch.dtype) -> None:
    assert uniform(key(1), (3,), dtype=dtype).dtype == dtype
    assert normal(key(1), (3,), dtype=dtype).dtype == dtype
    torch.testing.assert_close(uniform(key(1), (99,), dtype=dtype).double(), uniform(key(1), (99,)).double(), atol=4e-3, rtol=0)


def test_an_empty_draw() -> None:
    assert uniform(key(1), (0, 4)).shape == (0, 4)
    assert normal(key(1), ()).shape == ()


@pytest.mark.parametrize("parts", [(0,), (1, 2, 3), (7, 0, 41)])
def test_numpy_draws_what_torch_draws(parts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """In host memory numpy draws, elsewhere and in a compiler torch does: the same bits."""
    drawn = uniform(key(*parts), (1000,), salt=3), integers(key(*parts), (1000,), 9), normal(key(*parts), (1000,))
    monkeypatch.setattr(streams, "on_host", lambda _: False)
    by_torch = uniform(key(*parts), (1000,), salt=3), integers(key(*parts), (1000,), 9), normal(key(*parts), (1000,))
    assert all(torch.equal(one, other) for one, other in zip(drawn, by_torch, strict=True))


@pytest.mark.slow  # it loads torch's compiler; the next test is the short form
def test_what_a_compiler_makes_of_draws_stays_in_its_memory() -> None:
    """53 numbers are no whole count of vectors: the last was stored whole, over what follows (integers that wrap, in C++)."""

    def draw(labels: torch.Tensor, of_batch: torch.Tensor) -> torch.Tensor:
        return torch.stack([labels, wrong_labels(labels, 10, of_batch)])

    compiled, labels = torch.compile(draw, fullgraph=True, dynamic=False), torch.arange(53) % 10
    for k in range(3):
        assert torch.equal(compiled(labels, key(k)), draw(labels, key(k)))


def test_a_compiler_gets_no_integers_that_wrap() -> None:
    """One operation without parts draws, of a key and of several."""
    graphs: list[str] = []

    def kept(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph.code)
        return graph

    compiled = torch.compile(lambda keys: uniform(keys, (2, 3), salt=5), backend=kept, fullgraph=True, dynamic=False)
    one, other = uniform(key(1), (2, 3), salt=5), uniform(key(2), (2, 3), salt=5)
    assert torch.equal(compiled(key(1)), one)
    assert torch.equal(compiled(torch.stack([key(1), key(2)])), torch.stack([one, other]))
    assert len(graphs) == 2
    assert all("bpfree.stream_bits" in graph and ">>" not in graph and "xor" not in graph for graph in graphs)
