"""Each rewrite does what it says, seen in the instructions of small programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import export

from penlight import to_edge
from penlight.edge.linear import Call, Place
from penlight.program.manager import ExecutorchProgramManager


class Function(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


def lower(module: Any, *args: Tensor) -> ExecutorchProgramManager:
    module = module if isinstance(module, nn.Module) else Function(module)
    return to_edge(export(module.eval(), args)).to_executorch()


def operators(program: ExecutorchProgramManager) -> list[str]:
    calls = program.linear_method().instructions
    return [call.name.split("::")[1] for call in calls if isinstance(call, Call)]


def test_equal_expressions_are_computed_once() -> None:
    ops = operators(lower(lambda x: torch.exp(x) + torch.exp(x), torch.ones(2)))
    assert ops == ["exp", "add"]


def test_expressions_of_constants_are_computed_at_export() -> None:
    ops = operators(lower(lambda x: x + torch.arange(3).sqrt().cos(), torch.ones(3)))
    assert ops == ["add"]


def test_clones_casts_to_the_same_type_and_full_slices_vanish() -> None:
    ops = operators(lower(lambda x: -(x.clone().float()[:].expand(2, 3)), torch.ones(2, 3)))
    assert ops == ["neg"]


def test_batch_norm_disappears_into_the_convolution() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
    assert operators(lower(model, torch.ones(1, 2, 5, 5))) == ["convolution", "relu"]


def test_reshapes_between_operators_cost_nothing() -> None:
    def model(x: Tensor) -> Tensor:
        return torch.exp(torch.exp(x).unsqueeze(0).reshape(3, 2).squeeze() + 1)

    assert operators(lower(model, torch.ones(2, 3))) == ["exp", "add", "exp"]


def test_a_product_with_a_transposed_weight_does_not_transpose_it() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(300, 80))

        def forward(self, x: Tensor) -> Tensor:
            return (x @ self.weight.t()) @ self.weight

    assert operators(lower(Tied(), torch.ones(2, 80))) == ["linear", "mm"]


class State(nn.Module):
    kept: Tensor

    def __init__(self, update: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(4))
        self.update = update

    def forward(self, x: Tensor) -> Tensor:
        old = self.kept
        self.kept.copy_(self.update(old, x))
        return x.neg()


def test_state_is_written_in_place_where_that_is_safe() -> None:
    for update in (lambda old, x: old + x, lambda old, x: x * 2):
        assert "copy_" not in operators(lower(State(update), torch.ones(4)))


def test_state_is_copied_where_the_kernel_reads_other_elements() -> None:
    assert "copy_" in operators(lower(State(lambda old, x: old.cumsum(0)), torch.ones(4)))


def test_state_lives_apart_from_activations() -> None:
    program = lower(State(lambda old, x: old + x), torch.ones(4))
    method = program.linear_method()
    assert [state.storage.place for state in method.states] == [Place.STATE]
    assert len(method.arena_sizes) == 3
