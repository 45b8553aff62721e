"""The names of a method's inputs and outputs, which a program records as named data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from penlight.errors import ProgramError

KEY = "penlight.parameter_names"

Names = Mapping[str, Mapping[str, list[str]]]
"""By method, "inputs" and "outputs": the names in order."""


def parameter_names(data: bytes) -> Names:
    """Read ``{"forward": {"inputs": ["x"], "outputs": ["y"]}}``.

    Raises ProgramError if it is anything else.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"{error}"[:80]) from None
    if not isinstance(found, dict):
        raise _malformed(type(found).__name__)
    for method, lists in found.items():
        if not isinstance(lists, dict) or not all(_are_names(each) for each in lists.values()):
            raise _malformed(f"something else for {method[:60]!r}")
    return found


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _malformed(got: str) -> ProgramError:
    return ProgramError(
        f"[{KEY}] expected names of inputs and outputs for each method but got {got}; "
        "export the model again"
    )
