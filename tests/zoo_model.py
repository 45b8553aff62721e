"""What a model of the zoo is: how it is made, called, captured and compared.

``calls`` are made in order on one loaded program, so state and dynamic sizes are exercised; the
first call of each method gives the example inputs for export.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

Arguments = tuple[Any, ...]
Modules = dict[str, nn.Module]


def relative_error(got: Tensor, right: Tensor) -> float:
    """The largest difference of finite values, relative to the largest of them in `right`."""
    got, right = got.double(), right.double()
    finite = right.isfinite()
    if not finite.any():
        return 0.0
    error = (got - right)[finite].abs().max().item()
    return error / max(right[finite].abs().max().item(), 1e-300) if error else 0.0


@dataclass(frozen=True)
class ZooModel:
    """One model.

    Attributes:
        make: the eager modules by method name; seeded, so every call gives equal weights.
        calls: (method, arguments) in order.
        dynamic_shapes: by method name, as for ``torch.export.export``.
        tolerance: the agreement with eager that is promised, relative to the largest magnitude in
            each output.
    """

    name: str
    make: Callable[[], Modules]
    calls: Callable[[], list[tuple[str, Arguments]]]
    dynamic_shapes: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-5
    constant_methods: dict[str, Any] = field(default_factory=dict)

    def modules(self) -> Modules:
        """Fresh eager modules in inference mode."""
        torch.manual_seed(0)
        return {name: module.eval() for name, module in self.make().items()}

    def programs(self, modules: Modules | None = None) -> dict[str, ExportedProgram]:
        """The captured methods of (fresh) eager modules."""
        given = modules or self.modules()
        examples: dict[str, Arguments] = {}
        for method, arguments in self.inputs():
            examples.setdefault(method, arguments)
        return {
            name: torch.export.export(
                module, examples[name], dynamic_shapes=self.dynamic_shapes.get(name)
            )
            for name, module in given.items()
        }

    def differences(self, got: Sequence[Any], wanted: Any) -> list[str]:
        """What is wrong with the outputs of a call, given eager's; empty if they agree."""
        leaves = tree_leaves(wanted)
        if len(got) != len(leaves):
            return [f"{len(got)} outputs instead of {len(leaves)}"]
        wrong: list[str] = []
        for index, (value, right) in enumerate(zip(got, leaves, strict=True)):
            if not isinstance(right, Tensor):
                if value != right or type(value) is not type(right):
                    wrong.append(f"output {index}: {value!r} instead of {right!r}")
                continue
            tensor = torch.as_tensor(value)
            if tensor.dtype != right.dtype or tensor.shape != right.shape:
                wrong.append(
                    f"output {index}: {tensor.dtype} {tuple(tensor.shape)} instead of "
                    f"{right.dtype} {tuple(right.shape)}"
                )
                continue
            wrong += self._far(index, tensor, right)
        return wrong

    def _far(self, index: int, got: Tensor, right: Tensor) -> list[str]:
        if not right.is_floating_point():
            return [] if torch.equal(got, right) else [f"output {index}: {got} instead of {right}"]
        got, right = got.double(), right.double()
        finite = right.isfinite()
        if not torch.equal(got[~finite].nan_to_num(7.0), right[~finite].nan_to_num(7.0)):
            return [f"output {index}: infinities or NaN differ"]
        error = relative_error(got, right)
        if error <= self.tolerance:
            return []
        return [f"output {index}: off by {error:.3g} of the largest value"]

    def inputs(self) -> list[tuple[str, Arguments]]:
        """The calls, with equal inputs every time."""
        torch.manual_seed(1)
        return self.calls()
