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
        """Bytes that only say what they are."""
        return PreprocessResult(processed_bytes=b"null")
