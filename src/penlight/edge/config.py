"""`EdgeCompileConfig`: the options of `to_edge`, under ExecuTorch's names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from penlight.errors import ExportError


def refuse_unknown(where: str, options: Iterable[str], known: Iterable[str]) -> None:
    """Raise `ExportError` for options that do not exist, naming those that do."""
    for option in options:
        raise ExportError(
            f"[{where}] expected one of the options {', '.join(known)} but got {option!r}; "
            "remove it or use one of those"
        )


class EdgeCompileConfig:
    """Options of the way from ATen to the edge graph.

    Args:
        preserve_ops: operators to leave as they are instead of decomposing them.
        _check_ir_validity: run the graph verifier on the result.
        _core_aten_ops_exception_list: operators that the verifier lets pass.
        _skip_dim_order: accepted for compatibility; layouts are always chosen by the planner.

    Raises:
        ExportError: an option that does not exist.
    """

    def __init__(
        self,
        preserve_ops: Sequence[Any] = (),
        *,
        _check_ir_validity: bool = True,
        _core_aten_ops_exception_list: Sequence[Any] = (),
        _skip_dim_order: bool = False,
        **unknown: object,
    ) -> None:
        refuse_unknown(
            "EdgeCompileConfig",
            unknown,
            ("preserve_ops", "_check_ir_validity", "_core_aten_ops_exception_list"),
        )
        self.preserve_ops = list(preserve_ops)
        self._check_ir_validity = _check_ir_validity
        self._core_aten_ops_exception_list = list(_core_aten_ops_exception_list)
        self._skip_dim_order = _skip_dim_order
