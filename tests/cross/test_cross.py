"""Other processors compute what this one's reference kernels compute.

The runtime is cross-compiled, and run by an emulator or a WebAssembly engine on every call that the
kernel tests make and on small models; results agree within the tolerances of those tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import ziglang

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from calls import Case, read_results, record, write_pack
from native import ROOT, built

pytestmark = pytest.mark.xdist_group("cross")  # one worker records the calls for all
HERE = Path(__file__).parent
ZIG = Path(ziglang.__file__).parent / "zig"
# How a processor is chosen, and the instruction set that the runtime must find on it.
ARM = [("max", None, "i8mm"), ("cortex-a76", None, "dotprod"), ("cortex-a72", None, "neon"),
       ("max", "scalar", "scalar")]  # fmt: skip


def build(target: str, name: str = "driver", optimise: str = "-O1") -> Path:
    options = {
        "OPTIMISE": optimise,
        "CMAKE_TOOLCHAIN_FILE": str(ROOT / "cmake/zig.cmake"),
        "PENLIGHT_TARGET": target,
        "ZIG": str(ZIG),
    }
    return built(HERE, f"cross/{target}", name, options)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    patch = pytest.MonkeyPatch()
    patch.setenv("PENLIGHT_ISA", "scalar")
    recorded = record(tmp_path_factory.mktemp("recorded"))
    patch.undo()
    assert len(recorded) > 500
    return recorded


@pytest.fixture(scope="module")
def folder(cases: list[Case], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cross")
    write_pack(folder / "pack", cases)
    return folder


def execute(command: list[Any], isa: str | None) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PENLIGHT_ISA"}
    if isa:
        environment["PENLIGHT_ISA"] = isa
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def faults(cases: list[Case], results: Path, isa: str) -> list[str]:
    """What differs from the reference, one line for each case."""
    found, outcomes = read_results(results)
    assert found == isa
    remaining = iter(outcomes)
    wrong = []
    for case in cases:
        for expected in case.expected:
            message, outputs = next(remaining)
            difference = message or compare(case, outputs, expected)
            if difference:
                wrong.append(f"{case.name}: {difference}")
    assert next(remaining, None) is None
    return wrong


def compare(case: Case, outputs: list[Any], expected: list[Any]) -> str:
    try:
        torch.testing.assert_close(
            outputs, expected, rtol=case.rtol, atol=case.atol, equal_nan=True, check_stride=False
        )
    except AssertionError as error:
        return " ".join(str(error).split())[:300]
    return ""


ONE_WORKER = pytest.mark.xdist_group("cross")  # which records the calls once


def run_on_arm(folder: Path, processor: str, forced: str | None, isa: str) -> Path:
    """The results of all cases, unless they are there already."""
    results = folder / f"{processor}-{isa}"
    if not results.exists():
        emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
        assert emulator, "expected qemu-aarch64, which runs arm programs; apt install qemu-user"
        driver = build("aarch64-linux-musl") / "driver"
        execute([emulator, "-cpu", processor, driver, folder / "pack", results, "2"], forced)
    return results


@ONE_WORKER
@pytest.mark.parametrize(("processor", "forced", "isa"), ARM, ids=[f"{p}-{i}" for p, _, i in ARM])
def test_arm(cases: list[Case], folder: Path, processor: str, forced: str | None, isa: str) -> None:
    assert faults(cases, run_on_arm(folder, processor, forced, isa), isa) == []


@ONE_WORKER
def test_all_vectors_of_arm_give_the_same_bits(folder: Path) -> None:
    (_, first), *others = (read_results(run_on_arm(folder, *which)) for which in ARM[:3])
    for _, other in others:
        for (_, found), (_, expected) in zip(other, first, strict=True):
            torch.testing.assert_close(
                found, expected, rtol=0, atol=0, equal_nan=True, check_stride=False
            )


@ONE_WORKER
@pytest.mark.parametrize("isa", ["wasm128", "scalar"])
def test_webassembly(cases: list[Case], folder: Path, isa: str) -> None:
    node = shutil.which("node")
    assert node, "expected node, which runs WebAssembly; apt install nodejs"
    driver = build("wasm32-wasi") / "driver"
    command = [node, "--no-warnings", HERE / "run_wasi.mjs", driver, folder, "/pack", f"/{isa}"]
    execute(command, isa)
    assert faults(cases, folder / isa, isa) == []


@pytest.mark.parametrize("target", ["x86_64-windows-gnu", "aarch64-macos"])
def test_the_core_compiles_for(target: str) -> None:
    """Only that: nothing here can run these systems' programs."""
    assert list(build(target, "core", "-O0").glob("*core.*"))
