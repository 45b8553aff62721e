"""The package holds all that a C or C++ program needs, and its parts agree on the version."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import penlight

ROOT = Path(__file__).parents[2]

PROGRAM = """
#include <penlight/penlight_llm.h>
#include <penlight/penlight_profile.h>
#include <stdio.h>
int main(void) {
    penlight_runtime* runtime;
    penlight_error error;
    if (penlight_runtime_create(NULL, &runtime, &error)) return 1;
    printf("%s %d", penlight_version(), penlight_runtime_kernel_count(runtime) > 0);
    penlight_runtime_free(runtime);
    return 0;
}
"""


def test_versions_agree() -> None:
    stated = re.search(r"project\(penlight VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())
    assert stated
    assert penlight.__version__ == version("penlight") == stated[1]


def test_headers_library_and_cmake_package_are_inside(tmp_path: Path) -> None:
    for header in ("penlight.h", "penlight_llm.h", "penlight_profile.h"):
        assert (penlight.include_dir() / "penlight" / header).is_file()
    assert penlight.library_path().is_file()
    (tmp_path / "main.c").write_text(PROGRAM)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(uses LANGUAGES C)\n"
        "find_package(penlight 0.1 REQUIRED)\nadd_executable(uses main.c)\n"
        "target_link_libraries(uses PRIVATE penlight::penlight)\n"
    )
    cmake = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake")
    assert cmake, "cmake comes with the developer environment: run make"
    build = tmp_path / "build"
    configure = [
        cmake,
        "-S",
        str(tmp_path),
        "-B",
        str(build),
        f"-Dpenlight_DIR={penlight.cmake_dir()}",
    ]
    for command in (configure, [cmake, "--build", str(build)], [str(build / "uses")]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"{penlight.__version__} 1"


def test_the_library_exports_its_c_interface_alone() -> None:
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", str(penlight.library_path())],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = [line.split()[-1].split("@")[0] for line in listed.splitlines()]
    assert {"penlight_program_open", "penlight_method_profile", "penlight_llm_open"} <= {*names}
    assert not [n for n in names if not n.startswith("penlight_")]


def test_importing_the_package_imports_neither_torch_nor_numpy() -> None:
    code = "import sys, penlight; print({'torch', 'numpy'} & set(sys.modules) or 'light')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "light\n"


def test_every_pin_is_exact_and_names_no_place() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert "torch==2.13.0" in pins
    assert not [p for p in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[\w.]+", p)]
