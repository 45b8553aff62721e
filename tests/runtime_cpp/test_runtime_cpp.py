"""Claims about the runtime that only C++ can check, under sanitizers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import programs

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
INCLUDES = ("runtime/include", "runtime/src", "runtime/kernels", "runtime", "tests/runtime_cpp")
CLAIM = re.compile(r"^CLAIM\((\w+)\)", re.MULTILINE)
CLAIMS = sorted(name for file in HERE.glob("*.cpp") for name in CLAIM.findall(file.read_text()))
# Threads see each other's memory, so they have a sanitizer of their own.
THREAD_CLAIMS = sorted(CLAIM.findall((HERE / "threads.cpp").read_text()))


def build(folder: Path, sanitizers: str) -> Path:
    """The runtime and the claims, with the whole table of kernels replaced by a few."""
    compiler = os.environ.get("CXX", "g++")
    sources = sorted((ROOT / "runtime/src").glob("*.cpp")) + sorted(HERE.glob("*.cpp"))
    sources += sorted((ROOT / "runtime/kernels/simd").glob("*.cpp"))
    kernels = ("arithmetic", "dtype", "elementwise", "movement", "prim_arithmetic", "prim_shape")
    sources += [ROOT / f"runtime/kernels/{name}.cpp" for name in kernels]
    options = ["-std=c++20", "-O1", "-g1", "-fno-rtti", "-pthread"]
    options += [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
    options += [f"-I{ROOT / include}" for include in INCLUDES]

    def compile_one(source: Path) -> str:
        result = folder / f"{source.parent.name}-{source.stem}.o"
        subprocess.run([compiler, *options, "-c", str(source), "-o", str(result)], check=True)
        return str(result)

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, sources))
    program = folder / "claims"
    subprocess.run([compiler, *options, *objects, "-o", str(program)], check=True)
    return program


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    programs.write_all(folder)
    return folder


@pytest.fixture(scope="session")
def memory_checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("address"), "address,undefined")


@pytest.fixture(scope="session")
def race_checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("thread"), "thread")


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
