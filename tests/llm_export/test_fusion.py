"""Fusing the operators of a language model changes no bit of its logits, in any architecture."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from helpers import Running, all_calls
from references import SIZES, VARIANTS, reference, saved

from penlight.llm.export import export_llm
from penlight.passes import pipeline
from penlight.program.read import read_program

# Norms that stay: one behind each part of a layer, or of queries and keys before they are rotated.
KEPT_NORMS = {"Gemma2": 2, "Gemma3Text": 4, "Olmo2": 4, "Qwen3": 2}
ADDS = {"Gemma2": 2, "Gemma3Text": 2, "Olmo2": 2}  # of normed results


@pytest.mark.parametrize(
    "name",
    ["llama with biases", "smollm3", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3",
     "olmo2"],
)  # fmt: skip
def test_no_bit_changes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture, changes = VARIANTS[name]
    layers = changes.get("num_hidden_layers", SIZES["num_hidden_layers"])
    folder = saved(reference(architecture, changes), tmp_path / "checkpoint")
    export_llm(folder, tmp_path / "fused.pte", quant="q4")
    kept = tuple(step for step in pipeline.OPTIMIZE if not step.__name__.startswith("fuse_"))
    monkeypatch.setattr(pipeline, "OPTIMIZE", kept)
    export_llm(folder, tmp_path / "plain.pte", quant="q4")
    with read_program(tmp_path / "fused.pte") as file:
        found = Counter(operator for operator, _ in all_calls(file))
    stay = layers * ADDS.get(architecture, 0)
    assert found["penlight::linears"] == layers + 1  # and the head
    assert found["penlight::gated_linear"] == layers
    assert found["penlight::linear_add"] == 2 * layers - stay
    assert found["penlight::linear"] == stay
    assert found["penlight::rms_norm"] == layers * KEPT_NORMS.get(architecture, 0)

    fused, plain = Running(tmp_path / "fused.pte"), Running(tmp_path / "plain.pte")
    tokens = torch.randint(3, SIZES["vocab_size"], (1, 40), generator=torch.manual_seed(0))
    for first, last in ((0, 17), (17, 18), (18, 25), (25, 40)):
        part, start = tokens[:, first:last], torch.tensor([first])
        assert torch.equal(fused(part, start), plain(part, start))
