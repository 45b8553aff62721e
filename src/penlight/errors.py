"""Every exception that Penlight raises on purpose.

    PenlightError
    ├── ProgramError          a .pte file is malformed, or cannot be written as asked
    ├── ExportError           a model cannot be turned into a program
    │   └── MissingKernelError    an operator of the model has no kernel in the runtime
    ├── CheckpointError       weights are missing, truncated or of an unknown format
    ├── RuntimeFailure        loading or running a program failed
    ├── UnsupportedError      well formed, but more than this version can do
    └── BackendError          a backend refused, or failed to lower, its part of a graph

A message is one line: ``[where] expected X but got Y; what to do next``. The command line prints
it as it is, without a traceback. Wrong arguments to a Python call (a tensor of the wrong dtype, an
unknown method name) are `RuntimeFailure` too, so that one ``except PenlightError`` is enough.
"""

from __future__ import annotations

__all__ = [
    "BackendError",
    "CheckpointError",
    "ExportError",
    "MissingKernelError",
    "PenlightError",
    "ProgramError",
    "RuntimeFailure",
    "UnsupportedError",
]


class PenlightError(Exception):
    """The base of all errors raised by Penlight."""


class ProgramError(PenlightError):
    """A program file is malformed, or its parts do not fit together."""


class ExportError(PenlightError):
    """A model cannot be captured, transformed or emitted."""


class MissingKernelError(ExportError):
    """An operator that the model uses has no kernel; the message names both."""


class CheckpointError(PenlightError):
    """A checkpoint is missing, truncated, inconsistent or of an unknown format."""


class RuntimeFailure(PenlightError):  # noqa: N818 - RuntimeError is taken
    """A program could not be loaded or run, or was called with arguments that do not fit."""


class UnsupportedError(PenlightError):
    """The request is valid, but beyond what this version of Penlight supports."""


class BackendError(PenlightError):
    """A backend could not partition, lower, load or run its part of a model."""
