"""Pointwise kernels give what eager PyTorch gives: values, dtypes, shapes, memory order."""

from __future__ import annotations

import pytest
import torch
from harness import refuse_op, run_op
from hypothesis import given, settings
from hypothesis import strategies as st

FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
DTYPES = [*FLOATS, *INTEGERS, torch.bool]
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1e-30, 3e38, float("inf"), float("nan")]
SHAPES = [(), (0,), (1,), (7,), (2, 0, 3), (3, 5), (2, 3, 4, 5)]


def sample(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    """Numbers of both signs around 0, the same for the same arguments."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator, dtype=torch.float64) * 3
    if dtype == torch.bool:
        return values > 0
    return values.abs().to(dtype) if dtype == torch.uint8 else values.to(dtype)


def special(dtype: torch.dtype) -> torch.Tensor:
    """Signed zeros, halves, the ends of the range, infinities and NaN."""
    return torch.tensor([*SPECIAL, -SPECIAL[-3], -SPECIAL[-2]], dtype=torch.float64).to(dtype)


# ---- functions of one number ----

REAL_FUNCTIONS = (
    "acos acosh asin asinh atan atanh cos cosh erf erfc exp exp2 expm1 log log10 log1p log2 "
    "reciprocal rsqrt sigmoid sin sinh sqrt tan tanh gelu silu elu leaky_relu logit softplus "
    "hardsigmoid hardswish"
).split()
FLOAT_INPUT_ONLY = {"gelu", "silu", "elu", "leaky_relu", "softplus", "hardsigmoid", "hardswish"}


@pytest.mark.parametrize("name", REAL_FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_real_functions(name: str, dtype: torch.dtype) -> None:
    if not dtype.is_floating_point and name in FLOAT_INPUT_ONLY:
        x = sample((3,), dtype)
        assert "float32" in refuse_op(f"aten::{name}", x, out=[x])
        return
    x = sample((3, 67), dtype)
    cases = [x] if dtype == torch.bool else [x, x.abs()]
    if dtype.is_floating_point:
        # PyTorch's own gelu overflows near the end of the range, and its logit rounds on the way.
        ends = special(dtype)
        cases += [ends[ends.abs() < 1e30] if name == "gelu" else ends]
    for case in cases:
        outputs = None
        if name == "logit" and dtype in (torch.float16, torch.bfloat16):
            outputs = [torch.logit(case.float()).to(dtype)]
        rtol = 2e-6 if dtype == torch.float32 else None
        run_op(f"aten::{name}", case, rtol=rtol, outputs=outputs)


@pytest.mark.parametrize(
    "name", "abs neg ceil floor round trunc relu sign signbit isinf isnan".split()
)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_functions_that_keep_the_dtype(name: str, dtype: torch.dtype) -> None:
    x = sample((3, 67), dtype)
    if dtype == torch.bool and name in "abs neg ceil floor round trunc relu".split():
        assert "bool" in refuse_op(f"aten::{name}", x, out=[x])
        return
    run_op(f"aten::{name}", x)
    if dtype.is_floating_point:
        run_op(f"aten::{name}", special(dtype))
    elif dtype != torch.bool:
        limits = torch.iinfo(dtype)
        run_op(f"aten::{name}", torch.tensor([limits.min, limits.max, 0, 1], dtype=dtype))


@pytest.mark.parametrize("dtype", [*INTEGERS, torch.bool], ids=str)
def test_bitwise_not(dtype: torch.dtype) -> None:
    run_op("aten::bitwise_not", sample((3, 7), dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_logical_not(dtype: torch.dtype) -> None:
    run_op("aten::logical_not", sample((3, 7), dtype))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_activations_with_parameters(dtype: torch.dtype) -> None:
    x = torch.cat([sample((64,), dtype), special(dtype)])
    run_op("aten::gelu", x, approximate="tanh")
    run_op("aten::elu", x, 0.7, 1.3, 0.5)
    run_op("aten::leaky_relu", x, -0.3)
    run_op("aten::hardtanh", x, -0.25, 6)
    run_op("aten::softplus", x, 2.0, 5.0)
    run_op("aten::logit", x, 0.1, outputs=[torch.logit(x.double(), 0.1).to(dtype)])
    run_op("aten::glu", x.reshape(1, -1)[:, :64].clone(), 1)
    run_op("aten::glu", sample((4, 6, 3), dtype), -2)


def test_hardtanh_of_integers_keeps_them() -> None:
    run_op("aten::hardtanh", sample((20,), torch.int32), -2, 2)


# ---- functions of two ----

ARITHMETIC = "add sub mul div remainder fmod".split()
COMPARISONS = "eq ne lt le gt ge".split()


def nonzero(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x == 0, torch.ones_like(x), x)


@pytest.mark.parametrize("name", [*ARITHMETIC, *COMPARISONS])
@pytest.mark.parametrize("a", DTYPES, ids=str)
@pytest.mark.parametrize("b", DTYPES, ids=str)
def test_promotion_of_two_tensors(name: str, a: torch.dtype, b: torch.dtype) -> None:
    x, y = sample((5, 7), a), nonzero(sample((5, 7), b, seed=1))
    refused = torch.bool in (a, b) if name == "sub" else a == b == torch.bool
    if refused and name in ("sub", "remainder", "fmod"):
        assert "bool" in refuse_op(f"aten::{name}.Tensor", x, y, out=[x])
        return
    run_op(f"aten::{name}.Tensor", x, y)


@pytest.mark.parametrize("name", [*ARITHMETIC, *COMPARISONS])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("number", [3, -2, 1.5, True])
def test_promotion_of_a_tensor_and_a_number(name: str, dtype: torch.dtype, number: object) -> None:
    x = sample((5, 7), dtype)
    truths = (dtype == torch.bool) + (number is True)
    if (name == "sub" and truths) or (name in ("remainder", "fmod") and truths == 2):
        assert "bool" in refuse_op(f"aten::{name}.Scalar", x, number, out=[x])
        return
    run_op(f"aten::{name}.Scalar", x, number)


@pytest.mark.parametrize("a", [torch.int8, torch.float16, torch.bool], ids=str)
@pytest.mark.parametrize("b", DTYPES, ids=str)
def test_a_0d_tensor_counts_less_than_one_with_dims(a: torch.dtype, b: torch.dtype) -> None:
    run_op("aten::add.Tensor", sample((5,), a), sample((), b))
    run_op("aten::mul.Tensor", sample((), b), sample((5,), a))
    run_op("aten::lt.Tensor", sample((5,), a), sample((), b))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32, torch.uint8], ids=str)
@pytest.mark.parametrize("mode", [None, "floor", "trunc"])
def test_rounding_modes_of_division(dtype: torch.dtype, mode: str | None) -> None:
    x, y = sample((9, 11), dtype), nonzero(sample((9, 11), dtype, seed=3))
    run_op("aten::div.Tensor_mode", x, y, rounding_mode=mode)
    run_op("aten::div.Scalar_mode", x, 2, rounding_mode=mode)
    run_op("aten::floor_divide", x, y)


@pytest.mark.parametrize("name", ["div.Tensor_mode", "remainder.Tensor", "fmod.Tensor"])
def test_division_of_special_values(name: str) -> None:
    x = special(torch.float32)
    x = x[x.abs() != 3e38]  # PyTorch's vectorised fmod gives NaN for great quotients
    a, b = x.repeat_interleave(len(x)), x.repeat(len(x))
    if name == "div.Tensor_mode":
        run_op(f"aten::{name}", a, b, rounding_mode="floor")
        run_op(f"aten::{name}", a, b, rounding_mode="trunc")
    else:
        run_op(f"aten::{name}", a, b)


@pytest.mark.parametrize("name", ["remainder.Tensor", "fmod.Tensor", "floor_divide"])
def test_an_integer_divided_by_zero_is_an_error(name: str) -> None:
    x = torch.arange(5)
    assert "divisors" in refuse_op(f"aten::{name}", x, x, out=[x])


def test_the_least_integer_divided_by_minus_one_wraps() -> None:
    x = torch.tensor([-(2**63)])
    run_op("aten::div.Tensor_mode", x, -torch.ones_like(x), rounding_mode="floor", outputs=[x])
    run_op("aten::remainder.Tensor", x, -torch.ones_like(x), outputs=[x * 0])


@pytest.mark.parametrize("name", "add sub rsub".split())
def test_alpha(name: str) -> None:
    x, y = sample((5, 7), torch.float32), sample((7,), torch.float32, seed=1)
    for a, b, alpha in ((x, y, 0.5), (x.int(), y.int(), -3), (x.half(), y.half(), 2)):
        if name != "rsub":
            run_op(f"aten::{name}.Tensor", a, b, alpha=alpha)
        run_op(f"aten::{name}.Scalar", a, 2, alpha)
    assert "alpha" in refuse_op("aten::add.Tensor", x.int(), y.int(), alpha=0.5, out=[x.int()])


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_wrap(dtype: torch.dtype) -> None:
    limits = torch.iinfo(dtype)
    x = torch.tensor([limits.min, limits.max, 1, 2], dtype=dtype)
    for name in ("add", "sub", "mul"):
        run_op(f"aten::{name}.Tensor", x, x.flip(0))
    run_op("aten::neg", x)
    run_op("aten::abs", x)
    run_op("aten::pow.Tensor_Scalar", x, 3)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_maximum_and_minimum(dtype: torch.dtype) -> None:
    x = special(dtype) if dtype.is_floating_point else sample((20,), dtype)
    for name in ("maximum", "minimum"):
        run_op(f"aten::{name}", x.repeat_interleave(len(x)), x.repeat(len(x)))


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_with_special_values(name: str) -> None:
    x = special(torch.float32)
    run_op(f"aten::{name}.Tensor", x.repeat_interleave(len(x)), x.repeat(len(x)))


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
def test_logical(name: str) -> None:
    for a, b in ((torch.float32, torch.bool), (torch.int8, torch.float64), (torch.bool,) * 2):
        run_op(f"aten::{name}", sample((5, 7), a), sample((5, 7), b, seed=1))
    run_op(f"aten::{name}", special(torch.float32), special(torch.float32).flip(0))


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor"])
@pytest.mark.parametrize("dtype", [*INTEGERS, torch.bool], ids=str)
def test_bitwise(name: str, dtype: torch.dtype) -> None:
    x, y = sample((5, 7), dtype), sample((5, 7), dtype, seed=1)
    run_op(f"aten::{name}.Tensor", x, y)
    run_op(f"aten::{name}.Scalar", x, True if dtype == torch.bool else 5)


@pytest.mark.parametrize("name", ["bitwise_left_shift", "bitwise_right_shift"])
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_shifts(name: str, dtype: torch.dtype) -> None:
    x = sample((70,), dtype) * 7
    run_op(f"aten::{name}.Tensor", x, torch.arange(70).to(dtype))
    run_op(f"aten::{name}.Tensor_Scalar", x, 2)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_pow_of_real_numbers(dtype: torch.dtype) -> None:
    x = special(dtype)
    run_op("aten::pow.Tensor_Tensor", x.repeat_interleave(len(x)), x.repeat(len(x)))
    for exponent in (2, 3, 0.5, -1, -0.5, 1.7, 0):
        run_op("aten::pow.Tensor_Scalar", x.abs(), exponent)
    run_op("aten::pow.Scalar", 2.5, sample((9,), dtype))


def test_pow_of_integers() -> None:
    x = torch.arange(-4, 5)
    run_op("aten::pow.Tensor_Tensor", x, x.flip(0))
    run_op("aten::pow.Tensor_Scalar", x, 4)
    run_op("aten::pow.Tensor_Scalar", x, 2.0)
    run_op("aten::pow.Scalar", 3, x.abs())
    assert "at least 0" in refuse_op("aten::pow.Tensor_Scalar", x, -1, out=[x])


def test_functions_of_two_real_numbers() -> None:
    x = special(torch.float32)
    run_op("aten::atan2", x.repeat_interleave(len(x)), x.repeat(len(x)))
    run_op("aten::atan2", torch.arange(-3, 4), torch.arange(7))
    run_op("aten::hypot", x.repeat_interleave(len(x)), x.repeat(len(x)))
    run_op("aten::copysign.Tensor", torch.arange(len(x)), x)
    run_op("aten::copysign.Scalar", x, -2)


# ---- choices ----


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != torch.bool], ids=str)
def test_clamp(dtype: torch.dtype) -> None:
    x = sample((9,), dtype)
    if dtype.is_floating_point:
        x = torch.cat([x, special(dtype)])
    for low, high in ((-1, 2), (None, 1), (0, None), (2, -1), (0.5, 1.5)):
        if (low, high) != (None, None) and not (dtype == torch.uint8 and -1 in (low, high)):
            run_op("aten::clamp", x, low, high)
    run_op("aten::clamp.Tensor", x, torch.zeros_like(x), sample((len(x),), dtype, seed=5))
    run_op("aten::clamp.Tensor", x, None, torch.ones(1, dtype=dtype))
    assert "min, max" in refuse_op("aten::clamp", x, out=[x])


def test_clamp_to_nan_is_nan() -> None:
    run_op("aten::clamp", sample((5,), torch.float32), float("nan"), 1.0)


@pytest.mark.parametrize("a", DTYPES, ids=str)
@pytest.mark.parametrize("b", [torch.float32, torch.int64, torch.bool, torch.float16], ids=str)
def test_where(a: torch.dtype, b: torch.dtype) -> None:
    mask = sample((4, 1, 5), torch.bool)
    run_op("aten::where.self", mask, sample((3, 1), a), sample((5,), b))
    run_op("aten::where.self", mask, sample((), a), sample((), b))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_masked_fill(dtype: torch.dtype) -> None:
    run_op("aten::masked_fill.Scalar", sample((4, 5), dtype), sample((5,), torch.bool), 1)


def test_a_mask_of_numbers_is_refused() -> None:
    x = torch.ones(3)
    assert "bool" in refuse_op("aten::where.self", x, x, x, out=[x])


# ---- shapes and memory order ----


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bfloat16], ids=str)
def test_shapes(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    run_op("aten::mul.Tensor", sample(shape, dtype), sample(shape, dtype, seed=1))
    run_op("aten::relu", sample(shape, dtype))


@st.composite
def broadcasts(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape = draw(st.lists(st.integers(0, 5), max_size=5))
    sides = []
    for _ in range(2):
        kept = [draw(st.sampled_from([n, n, 1])) for n in shape]
        sides.append(tuple(kept[draw(st.integers(0, len(kept))) :]))
    return sides[0], sides[1]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(broadcasts(), st.sampled_from([torch.float32, torch.int16]))
def test_broadcasting(shapes: tuple[tuple[int, ...], tuple[int, ...]], dtype: torch.dtype) -> None:
    run_op("aten::add.Tensor", sample(shapes[0], dtype), sample(shapes[1], torch.float32))


def test_channels_last() -> None:
    x = sample((2, 3, 4, 5), torch.float32).to(memory_format=torch.channels_last)
    run_op("aten::relu", x)
    run_op("aten::add.Tensor", x, x.half())
    run_op("aten::mul.Tensor", x, sample((3, 1, 1), torch.float32))
    run_op("aten::add.Tensor", x, sample((2, 3, 4, 5), torch.float32))
    run_op("aten::where.self", x > 0, x, torch.zeros(()))


def test_work_large_enough_for_threads() -> None:
    x, y = sample((129, 1000), torch.float32), sample((1000,), torch.float32, seed=1)
    run_op("aten::mul.Tensor", x, y)
    run_op("aten::tanh", x)
    run_op("aten::add.Tensor", x.half(), y.double())


def test_shapes_that_do_not_broadcast_are_refused() -> None:
    x = torch.ones(2, 3)
    assert "broadcast" in refuse_op("aten::add.Tensor", x, torch.ones(2), out=[x])


def test_an_output_which_cannot_hold_the_result_is_refused() -> None:
    x = torch.ones(3)
    assert "float32" in refuse_op("aten::add.Tensor", x, x, out=[x.int()])
