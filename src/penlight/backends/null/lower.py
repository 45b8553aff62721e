"""Lowering for the delegate "null"."""

from __future__ import annotations

from typing import final

from torch.export import ExportedProgram

from penlight.backends.base import BackendDetails, CompileSpec, PreprocessResult


@final
class NullBackend(BackendDetails):
    """The delegate needs nothing to write zeros."""

    backend_id = "null"

    @staticmethod
    def preprocess(
        edge_program: ExportedProgram, compile_specs: list[CompileSpec]
    ) -> PreprocessResult:
        """How many of the delegate's last arguments are outputs, in 4 little-endian bytes."""
        outputs = len(edge_program.graph_signature.user_outputs)
        return PreprocessResult(processed_bytes=outputs.to_bytes(4, "little"))
