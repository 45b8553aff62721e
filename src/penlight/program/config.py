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


# Options of ExecuTorch's that change nothing here: sizes are always planned for their upper bound,
# names of buffers always written, delegates' data always segments of aligned pages.
_WITHOUT_EFFECT = frozenset(
    {
        "delegate_alignment", "do_quant_fusion_and_const_prop", "dynamic_memory_planning_mode",
        "emit_mutable_buffer_names", "emit_stacktrace", "enable_non_cpu_memory_planning",
        "extract_delegate_segments", "propagate_device_config", "reinplace_extra_ops",
        "run_reinplace_pass", "segment_alignment", "sym_shape_eval_pass", "to_out_var_pass",
    }
)  # fmt: skip


class ExecutorchBackendConfig:
    """Options of the way from the edge graph to a program.

    Args:
        passes: rewrites ``f(graph_module)`` that run first, on every method.
        memory_planning_pass: options of the planner.
        constant_tensor_alignment: bytes, a power of two; at least 16.
        remove_view_copy: let reshapes share memory instead of copying.
        extra_kernels: operators ("my_ops::scale.out") whose kernels are registered at run time.
        further: options of ExecuTorch's that change nothing here are accepted.

    Raises:
        ExportError: an option that does not exist, or weights outside of the file are asked for.
    """

    def __init__(
        self,
        passes: Sequence[Callable[[Any], object]] = (),
        memory_planning_pass: MemoryPlanningPass | None = None,
        constant_tensor_alignment: int | None = None,
        remove_view_copy: bool = True,
        extra_kernels: Sequence[str] = (),
        *,
        external_constants: object = False,
        external_mutable_weights: bool = False,
        **further: object,
    ) -> None:
        if external_constants or external_mutable_weights:
            raise ExportError(
                "[ExecutorchBackendConfig] expected the weights to stay in the program but got "
                "external_constants or external_mutable_weights; remove them: a program is mapped, "
                "so that weights cost no memory of their own"
            )
        refuse_unknown(
            "ExecutorchBackendConfig",
            further.keys() - _WITHOUT_EFFECT,
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
