"""The files made from the schema are up to date, and agree with the official one."""

import subprocess
from pathlib import Path

import pytest

from penlight.program import _generate, schema

ROOT = Path(__file__).parents[2]


def test_made_files_are_up_to_date() -> None:
    header = (ROOT / "runtime/src/schema.h").read_text(encoding="utf-8")
    text = (ROOT / "src/penlight/program/schema.fbs").read_text(encoding="utf-8")
    advice = "run python -m penlight.program.schema"
    assert header == _generate.cpp_text(), advice
    assert text == _generate.fbs_text(), advice


def test_rank_limit_is_that_of_the_c_header() -> None:
    header = (ROOT / "runtime/include/penlight/penlight.h").read_text(encoding="utf-8")
    assert f"#define PENLIGHT_MAX_RANK {schema.MAX_RANK}\n" in header


@pytest.fixture(scope="module")
def official() -> Path:
    """The folder of the official schema text."""
    serialize = pytest.importorskip("executorch.exir._serialize")
    return Path(serialize.__file__).parent


@pytest.mark.parametrize("order", ["ours evolves theirs", "theirs evolves ours"])
def test_same_binary_format_as_the_official_schema(
    official: Path, tmp_path: Path, order: str
) -> None:
    """flatc's --conform refuses any field, type, tag or enum value that differs."""
    for name in ("program.fbs", "scalar_type.fbs"):
        (tmp_path / name).write_bytes((official / name).read_bytes())
    ours = ROOT / "src/penlight/program/schema.fbs"
    pair = [tmp_path / "program.fbs", ours]
    base, checked = pair if order.startswith("ours") else reversed(pair)
    command = ["-I", tmp_path, "--conform", base, "--conform-includes", tmp_path, checked]
    result = subprocess.run(
        [_flatc(), *map(str, command)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def _flatc() -> str:
    import executorch.data.bin as bundled

    return str(Path(bundled.__path__[0]) / "flatc")
