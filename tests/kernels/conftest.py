"""Lets every test here write `from harness import run_op`, and run on each instruction set."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from isas import available


@pytest.fixture(params=available())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each instruction set that this machine can run, the reference first; kernels take it."""
    monkeypatch.setenv("PENLIGHT_ISA", request.param)
    return str(request.param)
