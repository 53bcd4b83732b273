"""FLOPs against hand counts; what torch's counter would take for 0 fails."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from bpfree.meter import IN_PLACE_FORMULAS, FlopCountError, count_flops
from bpfree.meter.flops import multiplies_matrices

N, D, H, K = 7, 20, 30, 5


def test_a_dense_training_step_counts_forward_and_both_gradients() -> None:
    net = nn.Sequential(nn.Linear(D, H), nn.ReLU(), nn.Linear(H, K))
    x = torch.randn(N, D)

    def step() -> None:
        functional.cross_entropy(net(x), torch.zeros(N, dtype=torch.long)).backward()

    # forward and weight gradient of both layers, input gradient of the second only
    assert count_flops(step) == 2 * N * (2 * D * H + 3 * H * K)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_counts_the_same_in_every_mode(context, bias: bool) -> None:
    layer, x = nn.Linear(D, H, bias=bias), torch.randn(N, D)
    with context():
        assert count_flops(lambda: layer(x)) == 2 * N * D * H


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_counts_forward_and_backward(groups: int, stride: int) -> None:
    conv = nn.Conv2d(4, 8, 3, padding=1, stride=stride, groups=groups)
    x = torch.randn(2, 4, 10, 10, requires_grad=True)
    forward = 2 * 2 * (10 // stride) ** 2 * 8 * 9 * 4 // groups
    assert count_flops(lambda: conv(x)) == forward
    with torch.no_grad():
        assert count_flops(lambda: conv(x)) == forward
    if groups == 1:
        assert count_flops(lambda: conv(x).sum().backward()) == 3 * forward


@pytest.mark.parametrize(
    "fn",
    [
        lambda a, b: a @ b,
        lambda a, b: torch.mm(a, b, out=torch.empty(N, H)),
        lambda a, b: torch.addmm(torch.zeros(H), a, b),
        lambda a, b: torch.einsum("nd,dh->nh", a, b),
        lambda a, b: torch.tensordot(a, b, dims=1),
        lambda a, b: functional.linear(a, b.t()),
        lambda a, b: torch.bmm(a[None], b[None]),
        lambda a, b: torch.baddbmm(torch.zeros(1), a[None], b[None]),
        lambda a, b: torch.linalg.multi_dot([a, b]),
    ],
)
def test_every_way_to_write_a_product_counts_the_same(fn) -> None:
    assert count_flops(lambda: fn(torch.randn(N, D), torch.randn(D, H))) == 2 * N * D * H


def test_element_wise_work_counts_nothing() -> None:
    x = torch.randn(N, D)
    assert count_flops(lambda: (x.relu() * 2).softmax(-1).sum()) == 0
    assert count_flops(lambda: torch.outer(x[0], x[1])) == 0
    assert count_flops(lambda: torch.linalg.vector_norm(x)) == 0


A, SQUARE, STACK = torch.randn(N, D), torch.eye(N), torch.randn(2, N, N)
SEEN_AS_ZERO = {
    "addmm_": lambda: torch.zeros(N, N).addmm_(A, A.t()),
    "baddbmm_": lambda: torch.zeros(2, N, N).baddbmm_(STACK, STACK),
    "addbmm": lambda: torch.addbmm(SQUARE, STACK, STACK),
    "addmv": lambda: torch.addmv(torch.zeros(N), A, A[0]),
    "mv": lambda: torch.mv(A, A[0]),
    "dot": lambda: torch.dot(A[0], A[1]),
    "addr": lambda: torch.addr(SQUARE, SQUARE[0], SQUARE[1]),
    "qr": lambda: torch.linalg.qr(A),
    "eigh": lambda: torch.linalg.eigh(SQUARE),
    "inv": lambda: torch.linalg.inv(SQUARE),
    "solve": lambda: torch.linalg.solve(SQUARE, A),
    "lstsq": lambda: torch.linalg.lstsq(A, A),
    "pinv": lambda: torch.linalg.pinv(A),
    "matrix_exp": lambda: torch.linalg.matrix_exp(SQUARE),
    "lu": lambda: torch.linalg.lu_factor(SQUARE),
    "cdist": lambda: torch.cdist(A, A),
    "lstm": lambda: nn.LSTM(D, K)(A[None]),
    "int_mm": lambda: torch._int_mm(torch.ones(32, 32, dtype=torch.int8), torch.ones(32, 32, dtype=torch.int8)),
}


@pytest.mark.parametrize("name", SEEN_AS_ZERO)
def test_a_product_that_the_counter_does_not_see_fails_the_count(name: str) -> None:
    fn = SEEN_AS_ZERO[name]
    with FlopCounterMode(display=False) as alone:
        fn()
    assert alone.get_total_flops() == 0, "torch counts it by now: move it to the test above"
    with pytest.raises(FlopCountError, match="no FLOP formula"):
        count_flops(fn)


def test_it_fails_also_when_most_of_the_step_was_counted() -> None:
    def step() -> None:
        product = A @ A.t()
        product.addmm_(A, A.t())

    with pytest.raises(FlopCountError, match=r"aten\.addmm_"):
        count_flops(step)


def test_a_caller_may_supply_the_formula() -> None:
    fn = SEEN_AS_ZERO["addmm_"]
    assert count_flops(fn, formulas=IN_PLACE_FORMULAS) == 2 * N * D * N
    assert count_flops(SEEN_AS_ZERO["baddbmm_"], formulas=IN_PLACE_FORMULAS) == 2 * 2 * N**3
    assert count_flops(SEEN_AS_ZERO["mv"], formulas=IN_PLACE_FORMULAS) == 2 * N * D
    assert count_flops(SEEN_AS_ZERO["addmv"], formulas=IN_PLACE_FORMULAS) == 2 * N * D
    assert count_flops(SEEN_AS_ZERO["dot"], formulas=IN_PLACE_FORMULAS) == 2 * D
    with pytest.raises(FlopCountError):
        count_flops(fn)


@pytest.mark.parametrize(
    ("fn", "flops"),
    [
        (lambda: torch.linalg.cholesky(SQUARE), N**3 // 3),
        (lambda: torch.cholesky_solve(A, SQUARE), 2 * N * N * D),
        (lambda: torch.cholesky_inverse(SQUARE), 2 * N**3 // 3),
        (lambda: torch.linalg.solve_triangular(SQUARE, A, upper=False), N * N * D),
        (lambda: torch.linalg.solve_triangular(SQUARE, A.t(), upper=False, left=False), N * N * D),
        (lambda: torch.ops.aten.triangular_solve(A, SQUARE, False), N * N * D),
        (lambda: torch.ops.aten._linalg_svd(A, False, False), 2 * D * N**2 + 2 * N**3),
        (lambda: torch.linalg.svd(A, full_matrices=False), 6 * D * N**2 + 20 * N**3),
        (lambda: torch.linalg.svd(A.t(), full_matrices=True), 4 * D**2 * N + 22 * N**3),
    ],
)
def test_decompositions_count_as_in_golub_and_van_loan(fn, flops: int) -> None:
    assert count_flops(fn) == flops


def test_attention_on_the_processor_is_counted() -> None:
    """torch's counter knows the kernels of CUDA only."""
    q, k, v = (torch.randn(2, 3, 8, 4, requires_grad=True) for _ in range(3))
    forward = 2 * 2 * (2 * 3 * 8 * 8 * 4)
    assert count_flops(lambda: functional.scaled_dot_product_attention(q, k, v)) == forward
    step = count_flops(lambda: functional.scaled_dot_product_attention(q, k, v).sum().backward())
    assert step == forward + 5 * forward // 2


def test_a_compiled_step_is_counted_eagerly_or_fails_but_is_never_too_low() -> None:
    compiled = torch.compile(lambda a: a @ a.t(), backend="eager")
    try:
        counted = count_flops(lambda: compiled(A))
    except FlopCountError:
        return
    assert counted == 2 * N * D * N


def test_nothing_seen_is_an_error_not_zero() -> None:
    with pytest.raises(FlopCountError, match="eager twin"):
        count_flops(lambda: None)


def test_a_kernel_of_somebody_else_needs_a_formula() -> None:
    @torch.library.custom_op("bpfree_test::double", mutates_args=())
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    with pytest.raises(FlopCountError, match="bpfree_test"):
        count_flops(lambda: double(A))
    mine = {torch.ops.bpfree_test.double: lambda shape, **_: 123}
    assert count_flops(lambda: double(A), formulas=mine) == 123


def test_every_operator_of_torch_that_sounds_like_a_product_is_decided() -> None:
    """A new operator of a new torch falls on the safe side: it fails the count until it has a formula."""
    schemas = torch._C._jit_get_all_schemas()
    names = {schema.name.partition("::")[2] for schema in schemas if schema.name.startswith("aten::")}
    caught = {name for name in names if multiplies_matrices("aten", name)}
    products = """
        _grouped_mm _scaled_mm_v2 mkldnn_linear _cudnn_rnn _trilinear chain_matmul _transformer_encoder_layer_fwd
        _native_multi_head_attention _euclidean_dist ormqr linalg_ldl_factor_ex _sparse_semi_structured_linear
        slow_conv_dilated2d addbmm_ linalg_householder_product _int_mm conv_transpose2d
    """
    harmless = """
        relu_ add_ mul softmax sum gelu_ elu_ upsample_linear1d sqrt copy_ max_pool2d_with_indices where cumsum
        native_batch_norm _foreach_add_ _fused_adam_ leaky_relu_ embedding sort index_select native_layer_norm
    """
    assert set(products.split()) & names <= caught
    assert not set(harmless.split()) & caught
    assert len(set(products.split()) & names) >= 15, "the names have changed: look for the new ones"
