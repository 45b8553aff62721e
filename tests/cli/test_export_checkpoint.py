"""`penlight export CHECKPOINT`: which source takes which options, and what is said and written."""

from __future__ import annotations

from pathlib import Path

import pytest

from penlight.cli._llm import default_output
from tests.cli.conftest import Penlight, one_error_line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["x.gguf", "--dtype", "int8", "--input-shape", "1"], "--input-shape, --dtype, which are"),
        (["x.gguf", "--dynamic", "0.0=1..2"], "--dynamic, which is for a Python module"),
        (["x.py:Net", "--quant", "q4", "--context", "8"], "--quant, --context, which are for a"),
        (["x.py:Net", "--cache", "float32"], "--cache, which is for a checkpoint; leave it out"),
        (["x.py"], "expected FILE.py:NAME but got 'x.py'"),
        (["missing.gguf"], "missing.gguf"),
        (["cut.gguf", "--cache", "int4"], "expected one of float16, float32, int8 but got 'int4'"),
        (["cut.gguf"], "cut.gguf"),
        (["cut.gguf", "-o", "no/such/x.pte"], "there is no no/such"),
        (["cut.gguf", "-o", "."], "is a folder"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    penlight: Penlight, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\x03\0\0\0\x01")
    assert says in one_error_line(penlight("export", *arguments, cwd=tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["cut.gguf"]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("models/Small-Q4_0.gguf", "Small-Q4_0.pte"),
        ("models/Small-1.5B/", "Small-1.5B.pte"),
        ("owner/Small-1.5B@main", "Small-1.5B.pte"),
        ("owner/name/Small.gguf", "Small.pte"),
    ],
)
def test_the_file_is_named_after_the_source(source: str, name: str) -> None:
    assert default_output(source) == Path(name)


def test_steps_are_lines_and_the_summary_a_table(
    penlight: Penlight, smollm2_gguf: Path, tmp_path: Path
) -> None:
    done = penlight("export", smollm2_gguf, "--context", 256, cwd=tmp_path)
    assert done.code == 0, done.err
    steps = [line.partition(":")[0] for line in done.err.splitlines()]
    assert steps[:3] == ["open the checkpoint", "capture the model", "lower the graph"]
    assert steps[-1] == "write"
    rows = dict(line.split(maxsplit=1) for line in done.out.splitlines())
    made = tmp_path / f"{smollm2_gguf.stem}.pte"
    assert [file.name for file in tmp_path.iterdir()] == [made.name]
    assert (rows["file"].strip(), rows["context"].strip()) == (made.name, "256 tokens")
    assert rows["architecture"].strip() == "llama"
    assert rows["parameters"].strip() == "134.5 M"
    assert rows["scheme"].startswith("keep (")
