"""The same weights in every form give the same logits, and quantised values are carried over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from references import VARIANTS, reference, saved
from writers import interleave, weights_of, write_gguf, write_meta

from penlight import models
from penlight.checkpoints import open_checkpoint

TOKENS = torch.tensor([[5, 17, 3, 60, 8, 41, 22, 9, 77, 30, 14, 2, 66, 35, 50, 11, 90, 4, 28, 71]])
# What GGUF has no field for: windows of Mistral, Qwen and SmolLM3, which llama.cpp ignores too,
# and scores of Gemma not scaled by the head's size.
NOT_IN_GGUF = {"smollm3 with windows", "mistral with windows", "qwen2 with windows, yarn"}
GEMMA_SCALE = {"query_pre_attn_scalar": 16}


def logits(path: Path, tokens: torch.Tensor = TOKENS) -> torch.Tensor:
    with open_checkpoint(path) as checkpoint:
        model = models.build(checkpoint.config)
        models.load_float(model, checkpoint)
    return model(tokens, torch.tensor([0]))


@pytest.mark.parametrize("variant", sorted(VARIANTS.keys() - NOT_IN_GGUF))
def test_gguf_gives_the_logits_of_transformers(variant: str, tmp_path: Path) -> None:
    family, changes = VARIANTS[variant]
    model = reference(family, changes | (GEMMA_SCALE if family.startswith("Gemma") else {}))
    path = write_gguf(tmp_path / "model.gguf", model, family)
    with torch.no_grad():
        expected = model(TOKENS).logits[:, -1]
    torch.testing.assert_close(logits(path), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("embedding_axis", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_three_forms_give_the_same_logits(
    shards: int, embedding_axis: int, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = reference("Llama", {"max_position_embeddings": 4096, "rms_norm_eps": 1e-5})
    model = model.to(dtype).float()  # weights that every form can hold exactly
    meta = write_meta(
        tmp_path / "meta", model, shards=shards, embedding_axis=embedding_axis, dtype=dtype
    )
    file = write_gguf(tmp_path / "model.gguf", model, "Llama")
    folder = saved(model.to(dtype), tmp_path / "hf")
    of_meta, of_gguf, of_hf = logits(meta), logits(file), logits(folder)
    assert torch.equal(of_meta, of_gguf)
    assert torch.equal(of_meta, of_hf)


def test_gguf_tells_a_tied_head_by_its_absence(tmp_path: Path) -> None:
    model = reference("Llama", {"tie_word_embeddings": True})
    with open_checkpoint(write_gguf(tmp_path / "model.gguf", model, "Llama")) as checkpoint:
        assert checkpoint.config.tied
        assert "lm_head.weight" not in checkpoint.tensors


@pytest.mark.parametrize("head_copied", [True, False])
def test_meta_tells_a_tied_head_by_its_values(head_copied: bool, tmp_path: Path) -> None:
    model = reference("Llama", {"tie_word_embeddings": True})
    folder = write_meta(tmp_path / "m", model, shards=2, head_copied=head_copied, max_seq_len=64)
    with open_checkpoint(folder) as checkpoint:
        assert checkpoint.config.tied
        assert "lm_head.weight" not in checkpoint.tensors
    with torch.no_grad():
        expected = model(TOKENS).logits[:, -1]
    torch.testing.assert_close(logits(folder), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("params", "layers", "factor", "context"),
    [
        ({"use_scaled_rope": True}, 4, 8.0, 131072),
        ({"use_scaled_rope": True, "dim": 2048, "n_heads": 32}, 16, 32.0, 131072),
        ({"use_scaled_rope": True, "rope_scaling_factor": 16}, 4, 16.0, 131072),
        ({"rope_theta": 500000.0}, 4, 1.0, 8192),
        ({}, 4, 1.0, 4096),
    ],
)
def test_meta_ropes_are_those_of_each_release(
    params: dict[str, Any], layers: int, factor: float, context: int, tmp_path: Path
) -> None:
    folder = write_meta(tmp_path / "m", reference("Llama", {}), **{"n_layers": layers, **params})
    config = open_checkpoint(folder).config
    assert (config.rope.factor, config.context_length) == (factor, context)
    assert config.rope.kind == ("llama3" if params.get("use_scaled_rope") else "default")


QUANTISED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]


@pytest.mark.parametrize("kind", QUANTISED)
def test_quantised_values_are_exactly_those_of_the_file(kind: str, tmp_path: Path) -> None:
    """In any range of rows, as floats and as integers; queries with their rows put in order."""
    heads, head_dim = 4, 8
    number = gguf.GGMLQuantizationType[kind]
    columns, nbytes = gguf.GGML_QUANT_SIZES[number]
    blocks = np.random.default_rng(0).integers(0, 256, (heads * head_dim, 2 * nbytes), np.uint8)
    _without_infinities(blocks, kind, nbytes)
    path = _one_matrix(tmp_path / "model.gguf", blocks, number, columns * 2, heads)
    expected = gguf.dequantize(blocks, number)
    with open_checkpoint(path) as checkpoint:
        values = checkpoint.tensors["layers.0.self_attn.v_proj.weight"]
        queries = checkpoint.tensors["layers.0.self_attn.q_proj.weight"]
        assert values.dtype == kind.lower()
        assert values.shape == (heads * head_dim, 2 * columns)
        assert np.array_equal(values.read(), expected)
        assert np.array_equal(values.read_rows(3, 11), expected[3:11])
        assert np.array_equal(values.raw_rows(3, 11), blocks[3:11])
        assert np.array_equal(interleave(queries.read(), heads), expected)
        assert np.array_equal(queries.read_rows(5, 20), queries.read()[5:20])

        raw = values.raw_quantised(3, 11)
        assert raw.codes.dtype == np.int8
        assert raw.low <= raw.codes.min() <= raw.codes.max() <= raw.high
        assert raw.scales.shape == (8, 2 * columns // raw.group)
        rebuilt = raw.codes * np.repeat(raw.scales, raw.group, 1)
        if raw.minimums is not None:
            rebuilt = rebuilt + np.repeat(raw.minimums, raw.group, 1)
        assert np.array_equal(rebuilt, expected[3:11])
        assert (raw.factors is not None) == kind.endswith("_K")
        if raw.factors is not None:
            units = raw.factors.units.reshape(8, -1, 2, 1).repeat(columns // raw.group, axis=3)
            for at, (numbers, product) in enumerate(
                [(raw.factors.scales, raw.scales), (raw.factors.minimums, raw.minimums)]
            ):
                if numbers is not None:
                    assert np.array_equal(numbers, np.rint(numbers).clip(-128, 127))
                    assert np.array_equal(units[:, at].reshape(8, -1) * numbers, product)


def test_float_tensors_are_read_in_any_stored_precision(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((32, 64)).astype(np.float32)
    for kind in ("F32", "F16", "BF16"):
        number = gguf.GGMLQuantizationType[kind]
        blocks = gguf.quantize(values, number)
        path = _one_matrix(tmp_path / f"{kind}.gguf", blocks, number, 64, 4)
        with open_checkpoint(path) as checkpoint:
            tensor = checkpoint.tensors["layers.0.self_attn.v_proj.weight"]
            assert np.array_equal(tensor.read(), gguf.dequantize(blocks, number))
            assert tensor.nbytes == values.size * {"F32": 4}.get(kind, 2)


def test_a_quantised_model_gives_the_logits_of_its_values(tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4}
    model = reference("Llama", sizes)
    q4 = gguf.GGMLQuantizationType.Q4_1

    def quantise(name: str, value: np.ndarray) -> gguf.GGMLQuantizationType | None:
        return q4 if value.shape[1] % 32 == 0 else None

    path = write_gguf(tmp_path / "model.gguf", model, "Llama", quantise)
    for name, value in weights_of(model).items():
        if value.ndim == 2 and value.shape[1] % 32 == 0:
            rounded = gguf.dequantize(gguf.quantize(value, q4), q4)  # rows are rounded alone
            model.state_dict()[name].copy_(torch.from_numpy(rounded))
    with torch.no_grad():
        expected = model(TOKENS).logits[:, -1]
    torch.testing.assert_close(logits(path), expected, rtol=0, atol=1e-4)


def _without_infinities(blocks: np.ndarray, kind: str, nbytes: int) -> None:
    """Makes the float16 scales of random blocks finite."""
    at = {"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,), "Q4_K": (0, 2), "Q5_K": (0, 2)}
    ones = {"Q4_1": (0, 2), "Q5_1": (0, 2)}
    for start in range(0, blocks.shape[1], nbytes):
        for offset in at.get(kind, ones.get(kind, (0,))):
            blocks[:, start + offset + 1] &= 0xBB


def _one_matrix(path: Path, blocks: np.ndarray, kind: Any, columns: int, heads: int) -> Path:
    """A file with one matrix, as queries and as values."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(columns)
    writer.add_feed_forward_length(64)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_key_length(8)
    writer.add_value_length(8)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tensor("token_embd.weight", np.zeros((4, columns), np.float32))
    for name in ("attn_q", "attn_v"):
        writer.add_tensor(f"blk.0.{name}.weight", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
