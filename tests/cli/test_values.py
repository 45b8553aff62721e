"""Texts on the command line become arrays of the declared dtype and shape, or are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from penlight.cli._values import parse_value, readable
from penlight.errors import RuntimeFailure, UnsupportedError
from penlight.runtime import ValueInfo
from penlight.runtime.values import DTYPES

CODES = {name: code for code, (name, _) in DTYPES.items()}


def tensor(dtype: str, *shape: int, dynamic: bool = False) -> ValueInfo:
    order = tuple(range(len(shape)))
    return ValueInfo("x", "tensor", dtype, shape, dynamic, True, order, 0, CODES[dtype])


def plain(kind: str) -> ValueInfo:
    return ValueInfo("n", kind, None, (), False, True, (), 0, -1)


def parse(text: str, info: ValueInfo) -> Any:
    return parse_value(text, info, np.random.default_rng(0))


@pytest.mark.parametrize("dtype", sorted(set(CODES) - {"bfloat16"}))
def test_numbers_take_the_declared_dtype(dtype: str) -> None:
    for text in ("1", "[1]", "ones:"):
        value = parse(text, tensor(dtype, 1))
        assert (value.dtype, value.shape, value.item()) == (np.dtype(dtype), (1,), 1)


def test_bfloat16_is_rounded_to_nearest_even() -> None:
    torch = pytest.importorskip("torch")
    numbers = [1.0, -2.5, 3.14159, 1e-40, 1 + 2**-8, 1 + 3 * 2**-8, float("inf"), float("nan")]
    expected = torch.tensor(numbers).to(torch.bfloat16)
    for number, want in zip(numbers, expected, strict=True):
        bits = parse(str(number), tensor("bfloat16"))
        np.testing.assert_equal(readable(bits, "bfloat16"), want.float().numpy())


@pytest.mark.parametrize("text", ["1.5", "1e30", "nan", "-1", "256"])
def test_what_an_integer_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(RuntimeFailure, match="expected a uint8 tensor"):
        parse(text, tensor("uint8", 1))


def test_a_list_of_the_right_length_takes_the_declared_shape() -> None:
    assert parse("[1,2,3,4]", tensor("int64", 1, 2, 2)).tolist() == [[[1, 2], [3, 4]]]
    assert parse("[1,2]", tensor("int64", 1, 9, dynamic=True)).tolist() == [[1, 2]]
    with pytest.raises(RuntimeFailure, match="but got shape 1x3"):
        parse("[1,2,3]", tensor("int64", 1, 2, dynamic=True))


def test_plain_values() -> None:
    assert parse("7", plain("int")) == 7
    assert parse("0.5", plain("float")) == 0.5
    assert parse("true", plain("bool")) is True
    assert parse("@text", plain("str")) == "@text"
    assert parse("none", plain("none")) is None
    with pytest.raises(RuntimeFailure, match="expected a int value but got"):
        parse("7.5", plain("int"))
    with pytest.raises(UnsupportedError, match="list of int"):
        parse("[1]", plain("list of int"))


@pytest.mark.parametrize("text", ["[" * 5000, "[1,", '["a"]', "[null]", "{}", "", "0x10", "truth"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(RuntimeFailure):
        parse(text, tensor("float32", 1))
