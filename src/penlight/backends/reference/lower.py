"""Lowering for the delegate "reference": the partition as a nested program."""

from __future__ import annotations

from typing import final

from torch.export import ExportedProgram

from penlight.backends.base import BackendDetails, CompileSpec, PreprocessResult, write_program


@final
class ReferenceBackend(BackendDetails):
    """The processed bytes are a complete ``.pte``, which the delegate loads and runs."""

    backend_id = "reference"

    @staticmethod
    def preprocess(
        edge_program: ExportedProgram, compile_specs: list[CompileSpec]
    ) -> PreprocessResult:
        """The partition written as a program with one method, "forward"."""
        return PreprocessResult(processed_bytes=write_program(edge_program))
