"""The options of `to_executorch`, under ExecuTorch's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from penlight.edge.config import refuse_unknown
from penlight.errors import ExportError


@dataclass
class MemoryPlanningPass:
    """How memory is planned.

    Args:
        alloc_graph_input: reserve planned memory for inputs; by default the caller's is used.
        alloc_graph_output: must stay true: outputs live in planned memory, and the runtime can be
            told to write them elsewhere.
    """

    alloc_graph_input: bool = False
    alloc_graph_output: bool = True

    def __post_init__(self) -> None:
        if not self.alloc_graph_output:
            raise ExportError(
                "[MemoryPlanningPass] expected alloc_graph_output=True but got False; redirect "
                "outputs at run time with penlight_method_set_output_data instead"
            )


class ExecutorchBackendConfig:
    """Options of the way from the edge graph to a program.

    Args:
        passes: rewrites ``f(graph_module)`` that run first, on every method.
        memory_planning_pass: options of the planner.
        constant_tensor_alignment: bytes, a power of two; at least 16.
        remove_view_copy: let reshapes share memory instead of copying.
        extra_kernels: operators ("my_ops::scale.out") whose kernels are registered at run time.

    Raises:
        ExportError: an option that does not exist.
    """

    def __init__(
        self,
        passes: Sequence[Callable[[Any], object]] = (),
        memory_planning_pass: MemoryPlanningPass | None = None,
        constant_tensor_alignment: int | None = None,
        remove_view_copy: bool = True,
        extra_kernels: Sequence[str] = (),
        *,
        extract_delegate_segments: bool = True,
        do_quant_fusion_and_const_prop: bool = False,
        **unknown: object,
    ) -> None:
        refuse_unknown(
            "ExecutorchBackendConfig",
            unknown,
            (
                "passes",
                "memory_planning_pass",
                "constant_tensor_alignment",
                "remove_view_copy",
                "extra_kernels",
            ),
        )
        planning = memory_planning_pass or MemoryPlanningPass()
        if not isinstance(planning, MemoryPlanningPass):
            raise ExportError(
                "[ExecutorchBackendConfig] expected penlight.MemoryPlanningPass as "
                f"memory_planning_pass but got {type(planning).__name__}; import it from penlight"
            )
        self.passes = list(passes)
        self.memory_planning_pass = planning
        self.constant_tensor_alignment = constant_tensor_alignment or 64
        self.remove_view_copy = remove_view_copy
        self.extra_kernels = list(extra_kernels)
        # Always so here; accepted because ExecuTorch's scripts pass them.
        self.extract_delegate_segments = extract_delegate_segments
        self.do_quant_fusion_and_const_prop = do_quant_fusion_and_const_prop
