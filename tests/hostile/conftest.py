"""The malformed programs, and the runtime built with sanitizers to open them."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the scripts here are no package
import fuzz as random_programs
import make

from tests.native import ROOT, built


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        cases = make.cases()
        metafunc.parametrize("case", cases, ids=[case.name for case in cases])


@pytest.fixture(scope="session")
def hostile() -> ModuleType:
    """The module that makes the programs."""
    return make


@pytest.fixture(scope="session")
def fuzz() -> ModuleType:
    """The module that makes programs at random."""
    return random_programs


@pytest.fixture(scope="session")
def driver() -> Path:
    """driver.cpp and the runtime under AddressSanitizer and UndefinedBehaviorSanitizer."""
    return built(ROOT / "tests/sanitized", "sanitized/address", "driver") / "driver"
