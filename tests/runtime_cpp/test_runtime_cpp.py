"""Claims about the runtime that only C++ can check, under sanitizers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import programs

from tests.native import ROOT, built

HERE = Path(__file__).parent
SANITIZED = ROOT / "tests/sanitized"
CLAIM = re.compile(r"^CLAIM\((\w+)\)", re.MULTILINE)
CLAIMS = sorted(name for file in HERE.glob("*.cpp") for name in CLAIM.findall(file.read_text()))
# Threads see each other's memory, so they have a sanitizer of their own.
THREAD_CLAIMS = sorted(CLAIM.findall((HERE / "threads.cpp").read_text()))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    programs.write_all(folder)
    return folder


@pytest.fixture(scope="session")
def memory_checked() -> Path:
    return built(SANITIZED, "sanitized/address", "claims") / "claims"


@pytest.fixture(scope="session")
def race_checked() -> Path:
    options = {"SANITIZER": "thread"}
    return built(SANITIZED, "sanitized/thread", "claims", options) / "claims"


def check(program: Path, folder: Path, claim: str) -> None:
    result = subprocess.run(
        [program, folder, claim], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("claim", CLAIMS)
def test_memory(memory_checked: Path, folder: Path, claim: str) -> None:
    check(memory_checked, folder, claim)


@pytest.mark.parametrize("claim", THREAD_CLAIMS)
def test_races(race_checked: Path, folder: Path, claim: str) -> None:
    check(race_checked, folder, claim)
