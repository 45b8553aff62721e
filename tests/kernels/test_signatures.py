"""Every aten kernel takes the arguments of PyTorch's schema of the same name, in its order."""

from __future__ import annotations

from pathlib import Path

import executorch.exir.dim_order_utils  # noqa: F401  (registers dim_order_ops)
import pytest
import torch
from harness import signature

from penlight import runtime

KERNELS = runtime.kernels()
INC = Path(__file__).parents[2] / "runtime" / "kernels" / "kernels.inc"


@pytest.mark.parametrize("name", sorted(k for k in KERNELS if k.startswith(("aten::", "dim_"))))
def test_the_parameters_are_those_of_the_schema(name: str) -> None:
    namespace, _, rest = name.partition("::")
    operator, _, overload = rest.partition(".")
    packet = getattr(getattr(torch.ops, namespace), operator)
    assert KERNELS[name] == signature(getattr(packet, overload or "default")._schema)


def test_every_operator_name_is_listed_once() -> None:
    text = INC.read_text()
    names = [line.split('"')[1] for line in text.splitlines() if line.startswith("PENLIGHT_KERNEL")]
    assert sorted(set(names)) == sorted(names)
