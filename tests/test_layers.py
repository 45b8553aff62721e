"""Imports point only backwards in the flow, and `import penlight` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "penlight"
FLOW = (
    "models", "checkpoints", "edge", "passes", "quantize", "backends", "plan", "program",
    "runtime", "llm", "cli",
)  # fmt: skip


def imported_layers(path: Path) -> set[str]:
    """The folders of the package that a file imports from, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {parts[1] for name in names if (parts := name.split("."))[0] == "penlight" and parts[1:]}


@pytest.mark.parametrize("layer", FLOW)
def test_imports_point_only_from_later_to_earlier(layer: str) -> None:
    later = set(FLOW[FLOW.index(layer) + 1 :])
    wrong = {
        f"{path.relative_to(PACKAGE)} imports {found}"
        for path in (PACKAGE / layer).rglob("*.py")
        for found in imported_layers(path) & later
    }
    assert not wrong


def test_importing_penlight_imports_neither_torch_nor_numpy() -> None:
    code = "import sys, penlight; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == "[]"


def test_loading_the_runtime_does_not_import_torch() -> None:
    code = "import sys, penlight; penlight.load; print('torch' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == "False"
