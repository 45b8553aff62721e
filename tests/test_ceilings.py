"""Pages stay readable: headers, sources and functions have a ceiling."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("bench", "docs", "examples", "runtime", "src", "tests")
HEADER, SOURCE, FUNCTION = 300, 500, 60  # lines


def files(*endings: str) -> Iterator[Path]:
    for folder in FOLDERS:
        yield from (p for p in sorted((ROOT / folder).rglob("*")) if p.suffix in endings)


def too_long(ceiling: int, *endings: str) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for path in files(*endings)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > ceiling
    ]


def test_headers_are_short() -> None:
    assert too_long(HEADER, ".h") == []


def test_sources_are_short() -> None:
    assert too_long(SOURCE, ".py", ".cpp", ".c") == []


def test_functions_are_short() -> None:
    """Without their signature and docstring; lists of test cases are data, not logic."""
    long = []
    for path in files(".py"):
        if path.is_relative_to(ROOT / "tests"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
                if lines > FUNCTION:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines}")
    assert long == []
