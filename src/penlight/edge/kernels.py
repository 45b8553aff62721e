"""Which kernels the runtime has. The runtime itself is asked; there is no second list.

The exporter comes before the runtime in the flow, so the runtime's table is handed in from above:
``penlight/__init__.py`` calls `provide`, and nothing is loaded before the first `available`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

_provider: Callable[[], Mapping[str, str]] | None = None
_names: frozenset[str] | None = None


def provide(provider: Callable[[], Mapping[str, str]]) -> None:
    """Say where the kernel table comes from: ``provider()`` maps "aten::add.out" to a signature."""
    global _provider, _names
    _provider = provider
    _names = None


def available() -> frozenset[str]:
    """The names of all kernels of the runtime, such as "aten::add.out"; asked once."""
    global _names
    if _names is None:
        _names = frozenset(_provider() if _provider else ())
    return _names


def kernel_name(name: str, overload: str) -> str:
    """The one text form of an operator: "aten::add.out", or "aten::copy_" without an overload."""
    return f"{name}.{overload}" if overload else name
