"""The binding's structures are those of the C header, byte for byte."""

import ctypes
import os
import subprocess
from pathlib import Path

import pytest

from penlight.runtime import abi

ROOT = Path(__file__).parents[2]
STRUCTURES: dict[str, type[ctypes.Structure]] = {
    "penlight_error": abi.Error,
    "penlight_tensor": abi.TensorView,
    "penlight_value": abi.Value,
    "penlight_runtime_options": abi.Options,
    "penlight_value_info": abi.ValueInfoRecord,
    "penlight_memory_info": abi.MemoryRecord,
    "penlight_profile_record": abi.ProfileRecord,
    "penlight_probe": abi.ProbeRecord,
}
ENUMS = {"Status": abi.Status, "Tag": abi.Tag}


@pytest.fixture(scope="module")
def header_says(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Sizes, offsets and codes as a C compiler sees them."""
    wanted: list[tuple[str, str]] = []
    for name, structure in STRUCTURES.items():
        wanted.append((name, f"sizeof({name})"))
        for field, *_ in structure._fields_:
            member = "as" if field == "payload" else field
            wanted.append((f"{name}.{field}", f"offsetof({name}, {member})"))
            size = f"sizeof((({name}*)0)->{member})"
            wanted.append((f"size of {name}.{field}", size))
    for kind in ENUMS.values():
        wanted += [(f"{kind.__name__}.{i.name}", f"PENLIGHT_{i.name}") for i in kind]
    wanted.append(("max rank", "PENLIGHT_MAX_RANK"))
    lines = [f'    printf("%s=%lld\\n", "{label}", (long long){what});' for label, what in wanted]
    folder = tmp_path_factory.mktemp("abi")
    source = folder / "layout.c"
    source.write_text(
        "#include <stdio.h>\n#include <penlight/penlight.h>\n"
        "#include <penlight/penlight_profile.h>\nint main(void) {\n"
        + "\n".join(lines)
        + "\n    return 0;\n}\n"
    )
    program = folder / "layout"
    compiler = os.environ.get("CC", "cc")
    include = f"-I{ROOT / 'runtime/include'}"
    subprocess.run([compiler, "-std=c11", include, str(source), "-o", str(program)], check=True)
    printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {k: int(v) for k, v in (line.rsplit("=", 1) for line in printed.splitlines())}


@pytest.mark.parametrize("header", sorted(ROOT.glob("runtime/include/penlight/*.h")), ids=str)
@pytest.mark.parametrize("language", ["c", "c++"])
def test_every_header_stands_alone(header: Path, language: str, tmp_path: Path) -> None:
    source = tmp_path / f"alone.{language}"
    source.write_text(f"#include <penlight/{header.name}>\n")
    compiler = os.environ.get("CC", "cc")
    strict = ["-std=c99" if language == "c" else "-std=c++11", "-Wall", "-Wextra", "-pedantic"]
    include = f"-I{ROOT / 'runtime/include'}"
    command = [compiler, "-x", language, *strict, "-Werror", "-fsyntax-only", include, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure(header_says: dict[str, int], name: str) -> None:
    structure = STRUCTURES[name]
    assert header_says[name] == ctypes.sizeof(structure)
    for field, *_ in structure._fields_:
        descriptor = getattr(structure, field)
        assert header_says[f"{name}.{field}"] == descriptor.offset, field
        assert header_says[f"size of {name}.{field}"] == descriptor.size, field


@pytest.mark.parametrize("kind", ENUMS.values(), ids=ENUMS)
def test_codes(header_says: dict[str, int], kind: type) -> None:
    assert {f"{kind.__name__}.{i.name}": i.value for i in kind}.items() <= header_says.items()


def test_rank_limit(header_says: dict[str, int]) -> None:
    assert header_says["max rank"] == abi.MAX_RANK


def test_every_function_exists_with_as_many_arguments() -> None:
    headers = [ROOT / f"runtime/include/penlight/{n}.h" for n in ("penlight", "penlight_profile")]
    flat = " ".join(" ".join(h.read_text(encoding="utf-8") for h in headers).split())
    for name, arguments in abi._CALLS.items():
        declared = flat.split(f"penlight_{name}(", 1)[1].split(")", 1)[0].split(",")
        assert len(declared) == len(arguments) + 1, name
    for name, (_, arguments) in abi._PLAIN.items():
        declared = flat.split(f"penlight_{name}(", 1)[1].split(")", 1)[0].split(",")
        assert len(declared) == len(arguments) or declared == ["void"], name
