"""What of a language model's graph is fused, what must not be, and that no bit changes by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

import penlight
import penlight.edge.ops
from penlight import to_edge
from penlight.edge.linear import Call
from penlight.passes import pipeline
from penlight.program.manager import ExecutorchProgramManager
from penlight.quantize import pack_values

ops = torch.ops.penlight
WIDTH, HIDDEN = 64, 96


class Layers(nn.Module):
    """A function of x and of packed weights a, b (to HIDDEN), c (back) and a norm n."""

    def __init__(self, function: Callable[..., Any], formats: tuple[str, str, str]) -> None:
        super().__init__()
        self.function = function
        shapes = {"a": (HIDDEN, WIDTH), "b": (HIDDEN, WIDTH), "c": (WIDTH, HIDDEN)}
        generator = torch.Generator().manual_seed(1)
        for format, (name, shape) in zip(formats, shapes.items(), strict=True):
            weight = torch.randn(shape, generator=generator)
            packed = torch.from_numpy(np.array(pack_values(weight.numpy(), format)))
            setattr(self, name, nn.Parameter(packed, requires_grad=False))
            rows = shape[0]
            setattr(self, f"linear_{name}", Linear(getattr(self, name), format, rows))
        self.n = nn.Parameter(torch.randn(WIDTH, generator=generator))

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)

    def norm(self, x: Tensor) -> Tensor:
        return ops.rms_norm(x, self.n, 1e-5, 1.0)


class Linear(nn.Module):
    def __init__(self, weight: nn.Parameter, format: str, rows: int) -> None:
        super().__init__()
        self.weight, self.format, self.rows = weight, format, rows
        self.bias = nn.Parameter(torch.linspace(-1, 1, rows))

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight, self.format, self.rows, self.bias)


def lower(function: Callable[..., Any], *formats: str) -> ExecutorchProgramManager:
    model = Layers(function, (*formats, *["q4g32"] * (3 - len(formats))))  # type: ignore[arg-type]
    length = Dim("length", min=1, max=64)
    captured = export(model, (torch.zeros(1, 7, WIDTH),), dynamic_shapes=({1: length},))
    return to_edge(captured).to_executorch()


def operators(function: Callable[..., Any], *formats: str) -> list[str]:
    calls = lower(function, *formats).linear_method().instructions
    names = [call.name for call in calls if isinstance(call, Call)]
    return [name.split("::")[1] for name in names if name.split("::")[0] in ("penlight", "aten")
            and "size" not in name]  # fmt: skip


def mlp(m: Any, x: Tensor) -> Tensor:
    y = m.norm(x)
    return x + m.linear_c(ops.silu_mul(m.linear_a(y), m.linear_b(y)))


def test_a_feed_forward_layer_is_two_calls() -> None:
    assert operators(mlp) == ["gated_linear", "linear_add"]


def test_layers_of_one_input_are_one_call_with_their_norm() -> None:
    def model(m: Any, x: Tensor) -> Any:
        y = m.norm(x)
        return m.linear_a(y), m.linear_b(y)

    assert operators(model) == ["linears"]
    assert operators(lambda m, x: m.linear_a(m.norm(x))) == ["linears"]
    assert operators(lambda m, x: (m.linear_a(x), m.linear_b(x))) == ["linears"]


def test_a_lone_layer_stays_as_it_is() -> None:
    assert operators(lambda m, x: m.linear_a(x)) == ["linear"]


def test_values_that_others_read_are_kept() -> None:
    def gate(m: Any, x: Tensor) -> Any:
        a = m.linear_a(x)
        return ops.gelu_mul(a, m.linear_b(x)), a

    assert operators(gate) == ["linears", "gelu_mul"]

    def product(m: Any, x: Tensor) -> Any:
        a = m.linear_a(x)
        return a + x[..., :1].expand(1, -1, HIDDEN) * 2, a

    assert "linear_add" not in operators(product)

    def norm(m: Any, x: Tensor) -> Any:
        y = m.norm(x)
        return m.linear_a(y), y

    assert operators(norm) == ["rms_norm", "linear"]


def test_a_product_that_is_added_to_itself_is_not_fused() -> None:
    def model(m: Any, x: Tensor) -> Tensor:
        a = m.linear_a(x)
        return a + a

    assert operators(model) == ["linear", "add"]


def test_layers_of_different_formats_or_inputs_stay_apart() -> None:
    def gate(m: Any, x: Tensor) -> Tensor:
        return ops.silu_mul(m.linear_a(x), m.linear_b(x))

    assert operators(gate, "q4g32", "q8g32") == ["linear", "linear", "silu_mul"]
    assert operators(gate, "q4g32", "q4g32.a16") == ["linear", "linear", "silu_mul"]

    def other(m: Any, x: Tensor) -> Tensor:
        return ops.silu_mul(m.linear_a(x), m.linear_b(x.neg()))

    assert operators(other) == ["linear", "neg", "linear", "silu_mul"]


def test_additions_that_scale_or_broadcast_are_not_fused() -> None:
    def scaled(m: Any, x: Tensor) -> Tensor:
        return torch.add(x, m.linear_c(m.linear_a(x)), alpha=2)

    assert "linear_add" not in operators(scaled)
    assert "linear_add" not in operators(lambda m, x: m.linear_a(x) + m.linear_a.bias)
    assert "linear_add" not in operators(lambda m, x: m.linear_a(x) + 1.0)


@pytest.fixture
def unfused(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Leaves the fusing passes out, from its call on."""
    kept = tuple(step for step in pipeline.OPTIMIZE if not step.__name__.startswith("fuse_"))
    return lambda: monkeypatch.setattr(pipeline, "OPTIMIZE", kept)


@pytest.mark.parametrize("format", ["q4g32", "q4g32m", "q8g32", "q4g32.a16", "q4g32c", "f32"])
def test_no_bit_changes(format: str, unfused: Callable[[], Any]) -> None:
    def model(m: Any, x: Tensor) -> Any:
        y = m.norm(x)
        return mlp(m, x), m.linear_a(y), m.linear_b(y)

    fused = lower(model, format, format, format)
    unfused()
    plain = lower(model, format, format, format)
    assert len(fused.linear_method().instructions) < len(plain.linear_method().instructions)
    for threads in (1, 2):
        for tokens in (1, 2, 5, 7, 64):
            x = torch.randn(1, tokens, WIDTH, generator=torch.Generator().manual_seed(tokens))
            results = [outputs(program, x, threads) for program in (fused, plain)]
            for ours, theirs in zip(*results, strict=True):
                assert torch.equal(ours, theirs)


def outputs(program: ExecutorchProgramManager, x: Tensor, threads: int) -> list[Tensor]:
    with penlight.load(program.buffer, threads=threads) as loaded:
        return [value.clone() for value in loaded.method("forward").execute([x])]


def last_row(m: Any, x: Tensor) -> Any:
    x = m.linear_c(x.neg()[..., :1].expand(1, -1, HIDDEN))
    return m.norm(mlp(m, x)[:, -1])


def test_a_row_is_chosen_before_what_takes_rows_one_by_one() -> None:
    names = operators(last_row)
    assert names.index("select_copy") < names.index("linear") < names.index("gated_linear")
    assert names.count("select_copy") == 1


def test_a_row_is_chosen_last_where_others_are_read() -> None:
    def both(m: Any, x: Tensor) -> Any:
        y = mlp(m, x)
        return m.linear_a(y[:, -1]), y

    def across(m: Any, x: Tensor) -> Tensor:
        return m.linear_a(x)[..., 0]  # type: ignore[no-any-return]

    assert operators(both)[-2:] == ["select_copy", "linear"]
    assert operators(across) == ["linear", "select_copy"]


def test_rows_that_are_chosen_early_have_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    early = lower(last_row)
    steps = tuple(step for step in pipeline.OPTIMIZE if step.__name__ != "choose_early")
    monkeypatch.setattr(pipeline, "OPTIMIZE", steps)
    late = lower(last_row)
    for tokens in (1, 2, 7, 64):
        x = torch.randn(1, tokens, WIDTH, generator=torch.Generator().manual_seed(tokens))
        assert torch.equal(outputs(early, x, 2)[0], outputs(late, x, 2)[0])
