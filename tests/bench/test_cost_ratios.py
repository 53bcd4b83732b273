"""What a step costs beside backprop's: the ratios that are promised, counted and by formula, and the bytes of a step."""

from __future__ import annotations

import pytest

from bpfree import data
from bpfree.algorithms import _gather, cost_of
from bpfree.bench import Arm, parse_arms
from bpfree.bench.cost import step_cost
from bpfree.bench.cost_table import CostRow, cost_rows, main_arms, ratios
from bpfree.bench.counting import live_step, step_flops
from bpfree.nets import build
from bpfree.testing.bench import make_batch
from bpfree.train import initialise

MNIST_LIKE = data.load("synthetic:n=300:inputs=1x28x28").without_test()
SMALL = data.load("synthetic:n=300:inputs=1x7x9").without_test()


def rows_of(arms: str, net: str, n: int, loaded: data.Dataset = MNIST_LIKE) -> dict[str, CostRow]:
    return {row.arm: row for row in cost_rows(parse_arms(arms), [net], loaded, n)}


@pytest.fixture(scope="module")
def papers_mlp() -> dict[str, CostRow]:
    return rows_of("backprop,mono-forward,forward-forward", "mlp:4x2000", 8)


@pytest.mark.parametrize(("arm", "most"), [("mono-forward", 0.71), ("forward-forward", 1.35)])
def test_a_training_pass_on_the_papers_mlp(arm: str, most: float, papers_mlp: dict[str, CostRow]) -> None:
    """mlp:4x2000: every batch of a pass costs the same, so a step's ratio is a pass's."""
    mine, base = papers_mlp[arm], papers_mlp["backprop"]
    assert mine.step is not None
    assert base.step is not None
    assert 0.5 < mine.step / base.step <= most
    assert mine.by_formula is not None
    assert base.by_formula is not None
    assert mine.by_formula.step is not None
    assert base.by_formula.step is not None
    assert 0.5 < mine.by_formula.step / base.by_formula.step <= most


def test_a_block_pass_of_cascaded_forward_on_its_cnn() -> None:
    rows = rows_of("backprop,cascaded-forward:blocks=dfa", "cnn3", 4)
    blocks, base = rows["cascaded-forward:blocks=dfa"].by_phase[0], rows["backprop"].step
    assert base is not None
    assert 0.5 < blocks / base <= 0.75


@pytest.mark.parametrize("arm", main_arms())
@pytest.mark.parametrize("net", ["mlp:40-30-20", "mlp:1x32"])
def test_count_and_formula_agree(arm: str, net: str) -> None:
    """Within 2 %: scoring, step, orthogonalisation and what closes a pass."""
    row = rows_of(arm, net, 16, SMALL)[arm]
    formula = row.by_formula
    assert formula is not None
    assert row.step == pytest.approx(formula.step, rel=0.02)
    assert row.evaluation == pytest.approx(formula.evaluation, rel=0.02)
    for counted, known in ((row.orthogonalisation, formula.orthogonalisation), (row.end_of_pass, formula.end_of_pass)):
        assert (counted is None) == (known is None)
        if counted is not None:
            assert counted == pytest.approx(known, rel=0.02)


@pytest.mark.parametrize("arm", ["backprop", "deep-supervision", "mono-forward:schedule=staged", "forward-forward",
                                 "cascaded-forward:blocks=dfa", "cascaded-forward:predictor=ridge", "spatial-goodness",
                                 "direct-feedback-alignment"])  # fmt: skip
def test_count_and_formula_agree_on_convolutions(arm: str) -> None:
    row = rows_of(arm, "cnn3:4-6-8", 8)[arm]
    assert row.by_formula is not None
    assert row.step == pytest.approx(row.by_formula.step, rel=0.02)
    assert row.evaluation == pytest.approx(row.by_formula.evaluation, rel=0.02)


@pytest.mark.parametrize("arm", main_arms())
@pytest.mark.parametrize("depth", [3, 8])
def test_live_bytes_are_those_of_the_formula(arm: str, depth: int) -> None:
    """Gradients and activations at the highest moment, within 5 %, on equally wide blocks as in the docs."""
    rule, net = Arm.parse(arm).build({}), build(f"mlp:{depth}x64", (196,), 10)
    state = initialise(rule, net, 0)
    batch = make_batch(32, in_shape=(196,), n_classes=10, dtype=net.dtype)
    for phase in rule.phases(net):
        live, formula = live_step(rule, net, state, batch, phase), cost_of(rule, net, 32, phase)
        assert formula is not None
        assert formula.peak is not None
        gradients, rest = (numbers * net.dtype.itemsize for numbers in formula.peak)
        assert live.peak_bytes == pytest.approx(gradients + rest, rel=0.05)
        assert live.gradients_bytes == pytest.approx(gradients, abs=0.05 * live.peak_bytes)


def test_no_formula_is_a_reason_and_not_a_zero() -> None:
    row = rows_of("local-similarity", "cnn3:4-6-8", 4)["local-similarity"]
    assert row.by_formula is not None
    assert row.by_formula.step is None
    assert "no formula" in row.reasons["by_formula.step"]
    assert row.step


def test_memory_does_not_grow_with_depth_where_blocks_learn_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gather, "GATHER_BYTES", 0)  # as on a net that is not small
    rows = {net: rows_of("backprop,mono-forward", net, 128) for net in ("mlp:3x64", "mlp:12x64")}
    within = {(net, arm): row.memory.gradients + row.memory.activations
              for net, found in rows.items() for arm, row in found.items() if row.memory is not None}  # fmt: skip
    assert within["mlp:12x64", "mono-forward"] == within["mlp:3x64", "mono-forward"]
    assert within["mlp:12x64", "backprop"] > 1.3 * within["mlp:3x64", "backprop"]


def test_checkpointing_pays_where_activations_weigh_more_than_weights() -> None:
    rows = rows_of("backprop,backprop:checkpoint_every=3", "mlp:9x16", 128, SMALL)
    shares = dict(zip(rows, ratios(list(rows.values()), lambda row: row.memory and row.memory.peak), strict=True))
    assert shares["backprop"] == 1.0
    assert (shares["backprop:checkpoint_every=3"] or 1.0) < 0.8
    steps = dict(zip(rows, ratios(list(rows.values()), lambda row: row.step), strict=True))
    assert 1.0 < (steps["backprop:checkpoint_every=3"] or 0.0) < 4 / 3


def test_what_is_kept_beside_the_net_is_counted() -> None:
    """A head per block for Mono-Forward, a matrix per weight but the first for feedback alignment."""
    rows = rows_of("mono-forward,feedback-alignment", "mlp:40-30", 16, SMALL)
    mine, other = rows["mono-forward"].memory, rows["feedback-alignment"].memory
    assert mine is not None
    assert other is not None
    assert mine.auxiliary == 4 * 10 * 40  # the last head is the net's output
    assert other.auxiliary == 4 * (40 * 30 + 30 * 10)


@pytest.mark.parametrize("every", [1, 5])
def test_orthogonalisation_stands_apart_of_the_step(every: int) -> None:
    arm = f"foton:orthogonalise_every={every}"
    row = rows_of(arm, "mlp:40-30", 16, SMALL)[arm]
    none = rows_of("foton:orthogonalise_by=none", "mlp:40-30", 16, SMALL)["foton:orthogonalise_by=none"]
    assert row.step == none.step
    assert row.orthogonalisation == 2 * (40 * 40 * 63 + 30 * 30 * 40) + 8 * (40 * 40 + 30 * 30)
    assert row.orthogonalisation_per_step == pytest.approx(row.orthogonalisation / every)
    assert none.orthogonalisation is None
    assert none.reasons["orthogonalisation"]


def test_a_record_has_orthogonalisation_and_ridge_apart() -> None:
    loaded = data.load("synthetic:n=300:inputs=20")
    for arm in ("foton", "cascaded-forward:predictor=ridge"):
        rule, net = Arm.parse(arm).build({}), build("mlp:16-12", (20,), 10)
        cost = step_cost(rule, net, initialise(rule, net, 0), loaded.without_test(), 16)
        if arm == "foton":
            assert cost.flops.orthogonalisation == 2 * (2 * (16 * 16 * 20 + 12 * 12 * 16) + 8 * (16 * 16 + 12 * 12))
            assert "every 10 steps" in str(cost.flops.method)
        else:
            assert cost.end_of_pass == sum(d**3 // 3 + 2 * 10 * d * d for d in (16, 12))
            assert f"{cost.end_of_pass} at the end of each pass" in str(cost.flops.method)
            assert cost.reasons["flops.orthogonalisation"]


def test_work_of_every_tenth_step_is_shared_out_and_that_of_the_first_is_no_part_of_a_step() -> None:
    net, batch = build("mlp:16-12", (20,), 10), make_batch(8, in_shape=(20,), n_classes=10)
    net = net.double()
    counts = {}
    for text in ("pepita", "pepita:mirroring=true:mirror_every=10", "pepita:mirroring=true:mirror_every=1"):
        rule = Arm.parse(text).build({})
        counts[text] = step_flops(rule, net, initialise(rule, net, 0), batch, rule.phases(net)[0])
    plain, tenth, each = counts.values()
    assert tenth - plain == pytest.approx((each - plain) / 10, abs=1)
    assert each > plain


def test_a_rule_that_cannot_train_the_net_says_why() -> None:
    row = rows_of("foton", "cnn3:4-6-8", 4)["foton"]
    assert "pools by the maximum" in str(row.refusal)
    assert (row.step, row.memory) == (None, None)


def test_orthogonalisation_of_overlapping_patches_is_counted() -> None:
    """Kernels (6, 1, 5, 5) at stride 4 meet 3 x 3 patches, their largest eigenvalue is estimated on 4 x 4; then 12 to 4 units."""
    row = rows_of("foton", "patches:6-4:overlap=1", 16, SMALL)["foton"]
    kernel, dense = 2 * 6 * 6 * 25 * 9 + 8 * 6 * 6 * 9 * 16, 2 * 4 * 4 * 12 + 8 * 4 * 4
    assert row.orthogonalisation == kernel + dense
    assert row.by_formula is not None
    assert (row.by_formula.step, row.by_formula.orthogonalisation) == (row.step, row.orthogonalisation)
    single = rows_of("foton", "patches:6-4:overlap=2", 16, SMALL)["foton"]  # one patch of 6 x 6: a matrix
    assert single.orthogonalisation == 2 * 6 * 6 * 36 + 8 * 6 * 6 + 2 * 4 * 4 * 6 + 8 * 4 * 4
    assert single.by_formula is not None
    assert single.by_formula.orthogonalisation == single.orthogonalisation
