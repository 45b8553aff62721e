"""verify gives each token the bits that forward gives it alone, so drafts change no answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from references import SIZES, VARIANTS, reference, saved

import penlight
from penlight.llm.export import export_llm
from penlight.llm.verify import VERIFY_LENGTH

LENGTHS = (2, 3, 7, VERIFY_LENGTH, 1, 5)
TOKENS = sum(LENGTHS)


def check_rows(path: Path, threads: int = 1) -> None:
    program = penlight.load(path, threads=threads)
    forward, verify = program.method("forward"), program.method("verify")
    tokens = np.random.default_rng(0).integers(3, SIZES["vocab_size"], (1, TOKENS))
    done = 0
    for length in LENGTHS:
        rows = np.array(verify(tokens[:, done : done + length], np.array([done])))
        assert rows.shape == (1, length, SIZES["vocab_size"])
        for row in rows[0]:
            alone = np.array(forward(tokens[:, done : done + 1], np.array([done])))
            np.testing.assert_array_equal(row, alone[0])
            done += 1


@pytest.mark.parametrize("variant", VARIANTS)
def test_of_every_architecture(variant: str, tmp_path: Path) -> None:
    folder = saved(reference(*VARIANTS[variant]), tmp_path / "model")
    export_llm(folder, tmp_path / "model.pte")
    check_rows(tmp_path / "model.pte")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "options",
    [{"quant": name} for name in ("q4", "q6", "q8", "bf16", "f32")]
    + [{"cache": "float32"}, {"cache": "int8"}],
)
def test_of_every_scheme(options: dict[str, str], threads: int, tmp_path: Path) -> None:
    folder = saved(reference("Llama", {}), tmp_path / "model")
    export_llm(folder, tmp_path / "model.pte", **options)
    check_rows(tmp_path / "model.pte", threads)
