"""The pipeline, on one page: from a captured model to instructions with planned memory.

    torch.export.export(model)          ATen operators
      → decompose, TO_EDGE              the edge graph: core ATen, functional, no views
      → partitioners (to_backend)       parts of it replaced by calls of delegates
      → OPTIMIZE                        folded, deduplicated, reshapes made free, fused
      → linearize                       out variants, state in place
      → plan                            every storage gets an offset in an arena
      → emission (program/emit.py)

After every step the graph is verified, so a broken rewrite is named at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence

from torch.export import ExportedProgram
from torch.fx import GraphModule

from penlight.edge.config import EdgeCompileConfig
from penlight.edge.decompose import decompose
from penlight.edge.graph import EdgeGraph, Subgraph
from penlight.edge.kernels import available
from penlight.edge.linear import LinearMethod
from penlight.edge.verify import verify
from penlight.errors import MissingKernelError
from penlight.passes.asserts import remove_asserts
from penlight.passes.batch_norm import fold_batch_norm
from penlight.passes.choose_early import choose_early
from penlight.passes.common_subexpressions import merge_common_subexpressions
from penlight.passes.constant_folding import fold_constants
from penlight.passes.copies import views_to_copies
from penlight.passes.dead_code import remove_dead_code
from penlight.passes.fuse_gated_linear import fuse_gated_linear
from penlight.passes.fuse_linear_add import fuse_linear_add
from penlight.passes.fuse_linears import fuse_linears
from penlight.passes.fuse_norm import fuse_norm
from penlight.passes.linear import use_linear
from penlight.passes.linearize import Linearizer, missing_kernels
from penlight.passes.no_ops import remove_no_ops
from penlight.passes.promote import promote_dtypes
from penlight.passes.reshapes import normalize_reshapes
from penlight.passes.scalars import scalars
from penlight.passes.state import mark_in_place_state

_log = logging.getLogger(__name__)

Step = Callable[[EdgeGraph], None]

TO_EDGE: tuple[Step, ...] = (
    remove_asserts,
    views_to_copies,
    scalars,
    remove_dead_code,
)

OPTIMIZE: tuple[Step, ...] = (
    remove_no_ops,
    fold_batch_norm,
    merge_common_subexpressions,
    use_linear,
    fold_constants,
    merge_common_subexpressions,
    promote_dtypes,
    normalize_reshapes,
    remove_no_ops,
    choose_early,
    fuse_gated_linear,
    fuse_linear_add,
    fuse_linears,
    fuse_norm,
    remove_dead_code,
    mark_in_place_state,
)

# The branches of torch.cond cannot own constants or state, so fewer steps apply to them.
BRANCH: tuple[Step, ...] = (
    remove_asserts,
    views_to_copies,
    scalars,
    remove_no_ops,
    merge_common_subexpressions,
    promote_dtypes,
    normalize_reshapes,
    remove_dead_code,
)


def to_edge_program(
    program: ExportedProgram, config: EdgeCompileConfig, preserve: Collection[object] = ()
) -> ExportedProgram:
    """The edge program of a captured method. The given program is not changed."""
    decomposed = decompose(program, available(), [*config.preserve_ops, *preserve])
    graph = EdgeGraph.copy_of(decomposed)
    run(graph, TO_EDGE, check=config._check_ir_validity)
    return graph.program


def lower(
    program: ExportedProgram,
    name: str,
    plan: Callable[[LinearMethod], None],
    *,
    passes: Sequence[Callable[[GraphModule], object]] = (),
    reuse_views: bool = True,
    plan_inputs: bool = False,
    extra_kernels: Collection[str] = (),
) -> tuple[ExportedProgram, LinearMethod]:
    """The optimised graph and the planned instructions of one method of an edge program.

    Raises:
        MissingKernelError: operators without a kernel, with the lines that use them.
        ExportError, UnsupportedError: what a program cannot express.
    """
    graph = EdgeGraph.copy_of(program)
    for rewrite in passes:
        rewrite(graph.program.graph_module)
    run(graph, OPTIMIZE)
    for module in graph.program.graph_module.children():
        if isinstance(module, GraphModule):
            run_branches(graph, module)
    method = Linearizer(graph, name, reuse_views=reuse_views, plan_inputs=plan_inputs).run()
    require_kernels(method, extra_kernels)
    plan(method)
    return graph.program, method


def run(graph: EdgeGraph, steps: Sequence[Step], *, check: bool = True) -> None:
    """Run rewrites in order, verifying the graph after each."""
    for step in steps:
        start = time.perf_counter()
        step(graph)
        if check:
            verify(graph, step.__name__)
        _log.debug("%s: %.1f ms", step.__name__, 1000 * (time.perf_counter() - start))
    graph.finish()


def run_branches(parent: EdgeGraph, module: GraphModule) -> None:
    """Run the rewrites that apply inside a branch, innermost branches included."""
    branch = Subgraph(parent, module)
    for step in BRANCH:
        step(branch)
    module.recompile()
    for inner in module.children():
        if isinstance(inner, GraphModule):
            run_branches(parent, inner)


def require_kernels(method: LinearMethod, extra: Collection[str] = ()) -> None:
    """Raise `MissingKernelError` if an operator has no kernel; every such operator is listed."""
    missing = missing_kernels(method, available() | frozenset(extra))
    if missing:
        lines = "; ".join(f"{name} (used at {source})" for name, source in missing.items())
        raise MissingKernelError(
            f"[export of {method.name}] expected operators that the runtime has kernels for but "
            f"got {len(missing)} without: {lines}; rewrite those lines with other operators, give "
            "a decomposition to ExportedProgram.run_decompositions, or register a kernel and pass "
            "its name in ExecutorchBackendConfig(extra_kernels=[...])"
        )


__all__ = ["BRANCH", "OPTIMIZE", "TO_EDGE", "lower", "require_kernels", "run", "to_edge_program"]
