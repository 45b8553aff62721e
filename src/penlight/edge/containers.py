"""Nested inputs and outputs: how a method's flat values were nested in Python."""

from __future__ import annotations

from typing import Any

from torch.utils import _pytree as pytree


def encode(spec: pytree.TreeSpec | None) -> str:
    """A tree as text, in the form that the file keeps.

    A leaf is ``$``; a container is its kind (T tuple, L list, D dict, N named tuple), the number of
    its children, the number of leaves of each after ``#``, then the children in parentheses:
    ``T2#1#2($,D2#1#1('a':$,'b':$))``.
    """
    if spec is None:
        return ""
    if spec.is_leaf():
        return "$"
    children = [spec.child(index) for index in range(spec.num_children)]
    kind = _kind(spec.type)
    parts = [encode(child) for child in children]
    if kind == "D":
        parts = [f"{key!r}:{part}" for key, part in zip(spec.context, parts, strict=False)]
    counts = "".join(f"#{child.num_leaves}" for child in children)
    return f"{kind}{len(children)}{counts}({','.join(parts)})"


def _kind(type_: Any) -> str:
    if type_ is tuple:
        return "T"
    if type_ is list:
        return "L"
    return "D" if isinstance(type_, type) and issubclass(type_, dict) else "N"


def leaf_names(spec: pytree.TreeSpec | None, single: str, count: int) -> list[str]:
    """A name for each leaf: dictionary keys and positions joined by ``_``, or `single`."""
    names: list[str] = []

    def walk(part: pytree.TreeSpec, path: list[str]) -> None:
        if part.is_leaf():
            names.append("_".join(path))
            return
        keys = part.context if _kind(part.type) == "D" else range(part.num_children)
        for index, key in enumerate(keys):
            walk(part.child(index), [*path, str(key)])

    if spec is not None:
        walk(spec, [])
    if len(names) != count:
        names = [str(index) for index in range(count)]
    if count == 1 and names[0] in ("", "0"):
        return [single]
    return [f"{single}_{name}" if name.isdigit() else name or single for name in names]
