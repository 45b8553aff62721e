"""The malformed programs, and the runtime built with sanitizers to open them."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the scripts here are no package
import make

ROOT = Path(__file__).parents[2]
# The kernels that the programs use, and what those share.
KERNELS = ("arithmetic", "cat", "dtype", "elementwise", "movement", "prim_arithmetic", "prim_shape")
INCLUDES = ("runtime/include", "runtime/src", "runtime/kernels", "runtime")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        cases = make.cases()
        metafunc.parametrize("case", cases, ids=[case.name for case in cases])


@pytest.fixture(scope="session")
def hostile() -> ModuleType:
    """The module that makes the programs."""
    return make


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """driver.cpp and the runtime under AddressSanitizer and UndefinedBehaviorSanitizer."""
    compiler = os.environ.get("CXX", "g++")
    assert shutil.which(compiler), f"expected a C++ compiler but {compiler} is not installed"
    folder = tmp_path_factory.mktemp("driver")
    sources = sorted((ROOT / "runtime/src").glob("*.cpp"))
    sources += [ROOT / f"runtime/kernels/{name}.cpp" for name in KERNELS]
    sources += sorted((ROOT / "runtime/kernels/simd").glob("*.cpp"))
    sources += [ROOT / "tests/hostile/driver.cpp"]
    options = ["-std=c++20", "-O1", "-g1", "-fno-exceptions", "-fno-rtti"]
    options += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    options += [f"-I{ROOT / include}" for include in INCLUDES]

    def compile_one(source: Path) -> str:
        result = folder / f"{source.parent.name}-{source.stem}.o"
        command = [compiler, *options, "-c", str(source), "-o", str(result)]
        subprocess.run(command, check=True)
        return str(result)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, sources))
    program = folder / "driver"
    subprocess.run([compiler, *options, *objects, "-pthread", "-o", str(program)], check=True)
    return program
