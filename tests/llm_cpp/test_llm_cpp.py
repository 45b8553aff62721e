"""Claims about the language-model layer that only C++ can check, under sanitizers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.llm_cpp import programs
from tests.native import ROOT, built

SANITIZED = ROOT / "tests/sanitized"
SOURCES = sorted(Path(__file__).parent.glob("*.cpp"))
pytestmark = pytest.mark.xdist_group("llm_cpp")  # one worker exports the models
CLAIM = re.compile(r"^CLAIM\((\w+)\)", re.MULTILINE)
CLAIMS = [name for source in SOURCES for name in CLAIM.findall(source.read_text())]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    programs.write_all(folder)
    return folder


def check(program: Path, folder: Path, claim: str) -> None:
    result = subprocess.run(
        [program, folder, claim], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("claim", CLAIMS)
def test_memory(folder: Path, claim: str) -> None:
    check(built(SANITIZED, "sanitized/address", "llm_claims") / "llm_claims", folder, claim)


def test_races(folder: Path) -> None:
    options = {"SANITIZER": "thread"}
    program = built(SANITIZED, "sanitized/thread", "llm_claims", options) / "llm_claims"
    check(program, folder, "another_thread_cancels")
