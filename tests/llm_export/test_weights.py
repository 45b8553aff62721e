"""What the weights of a program are: exactly the checkpoint's, or as near as the scheme says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from helpers import Running, all_calls, calls, constant, eager, linear_weights
from references import SIZES, reference, saved
from writers import interleave, write_gguf, write_meta

import penlight
from penlight.checkpoints import open_checkpoint
from penlight.edge.ops import quantised_activations
from penlight.edge.packed import PackedFormat
from penlight.llm.export import export_llm
from penlight.program.read import read_program
from penlight.quantize import unpack

WIDE: dict[str, Any] = {  # K kinds come in blocks of 256
    "hidden_size": 256,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 1,
}
KINDS = {  # how many bytes of scales a block begins with, or where they are
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "Q8_0": (0,),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
}
# Bits a weight takes beyond its own, where quants of 2, 3 or 5 bits take 4 or 6.
WIDENED = {"Q2_K": 2.5, "Q3_K": 1.125, "Q5_0": 1.0, "Q5_1": 1.0, "Q5_K": 1.125}
FEW = 16  # tokens that attend in float32
MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def random_blocks(value: np.ndarray, kind: gguf.GGMLQuantizationType) -> np.ndarray:
    """Blocks of all codes there are, with scales that are finite and small."""
    elements, nbytes = gguf.GGML_QUANT_SIZES[kind]
    count = value.shape[1] // elements
    blocks = np.random.default_rng(0).integers(0, 256, (value.shape[0], count, nbytes), np.uint8)
    for offset in KINDS[kind.name]:
        scale = np.random.default_rng(offset).uniform(-0.01, 0.01, blocks.shape[:2])
        blocks[:, :, offset : offset + 2] = scale.astype("<f2")[..., None].view(np.uint8)
    return blocks.reshape(value.shape[0], -1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gguf_kind_is_carried_over_exactly(kind: str, tmp_path: Path) -> None:
    number, model = gguf.GGMLQuantizationType[kind], reference("Llama", WIDE)
    source = write_gguf(
        tmp_path / "model.gguf", model, "Llama", lambda *_: number, encode=random_blocks
    )
    export_llm(source, tmp_path / "model.pte")
    stored = {t.name: gguf.dequantize(t.data, number) for t in gguf.GGUFReader(source).tensors
              if t.tensor_type == number}  # fmt: skip
    with read_program(tmp_path / "model.pte") as file:
        linears, (embedding,) = linear_weights(file), calls(file, "penlight::embedding")
        assert len(linears) == len(MATRICES) + 1
        assert len(calls(file, "penlight::attention")) == 1  # in float32, as what is kept deserves
        elements, nbytes = gguf.GGML_QUANT_SIZES[number]
        for _, text in linears:
            bits = PackedFormat.parse(text).nbytes(32, 256) / (32 * 256 / 8)
            assert bits <= 8 * nbytes / elements + WIDENED.get(kind, 0.125)
        names = [*(f"blk.0.{name}.weight" for name in MATRICES), "output.weight"]
        found = dict(zip(names, linears, strict=True))
        found["token_embd.weight"] = (embedding[1], embedding[2].string_val)
        for name, (tensor, text) in found.items():
            expected = stored[name]
            values = unpack(constant(file, tensor), text, *expected.shape)
            if heads := {"blk.0.attn_q.weight": 4, "blk.0.attn_k.weight": 2}.get(name):
                values = interleave(values, heads)
            np.testing.assert_array_equal(values, expected, err_msg=name)


@pytest.fixture(scope="module")
def float_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    changes = {"hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 1}
    return saved(reference("Llama", changes), tmp_path_factory.mktemp("float") / "model")


@pytest.mark.parametrize(
    ("scheme", "operator"),
    [("q4", "attention_bf16"), ("q8", "attention_bf16"), ("bf16", "attention"),
     ("f32", "attention"), ("keep", "attention")],
)  # fmt: skip
def test_attention_rounds_if_its_layers_do(
    scheme: str, operator: str, float_folder: Path, tmp_path: Path
) -> None:
    export_llm(float_folder, tmp_path / "model.pte", quant=scheme)
    with read_program(tmp_path / "model.pte") as file:
        names = [name for name, _ in all_calls(file) if "attention" in name]
    assert names == [f"penlight::{operator}"]


def rounding(spec: PackedFormat) -> Callable[[Any, tuple[torch.Tensor]], torch.Tensor]:
    """A hook that rounds what a layer is given to the integers that its kernel computes with."""
    return lambda _, inputs: quantised_activations(inputs[0], spec)


def with_stored_weights(checkpoint: Path, program: Path) -> Any:
    """The eager float model with the program's weights, and its rounding of activations."""
    with open_checkpoint(checkpoint) as opened:
        model = eager(checkpoint)
        layers, last = model.layers, opened.config.vocab_size
    with read_program(program) as file:
        modules = [m for layer in layers for m in (
            layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj,
            layer.self_attn.o_proj, layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj,
        )]  # fmt: skip
        stored = linear_weights(file)
        stored += [(call[1], call[2].string_val) for call in calls(file, "penlight::embedding")]
        for module, (tensor, text) in zip(
            [*modules, model.lm_head, model.embed_tokens], stored, strict=True
        ):
            values = unpack(constant(file, tensor), text, *module.weight.shape)
            module.weight.data.copy_(torch.from_numpy(values.copy()))
            spec = PackedFormat.parse(text)
            if spec.quantized and module is not model.embed_tokens:
                module.register_forward_pre_hook(rounding(spec))
    assert model.lm_head.weight.shape[0] == last
    return model


# Nothing but the order of float sums may differ: 1e-6 of the logits' spread. That this moves an
# activation over the border between two integers is rare, and the median leaves it out; a second
# layer would make a hundredth of the spread of it.
@pytest.mark.parametrize(
    ("scheme", "bits", "of_a_row"),
    [
        ("f32", 32, 0),
        ("bf16", 16, 0),
        ("keep", 32, 0),
        ("q8", 8.5, 0),
        ("q6", 7, 0),
        ("q4", 4.5, 64),
    ],
)
def test_a_scheme_computes_what_its_stored_weights_mean(
    scheme: str, bits: float, of_a_row: int, float_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.pte"
    report = export_llm(float_folder, path, quant=scheme, embedding_quant=scheme, cache="float32")
    assert report.card["scheme"] == scheme
    with read_program(path) as file:
        weight, _ = linear_weights(file)[4]  # [160, 96], which fills blocks
        assert weight.sizes == [160 * (96 * bits + of_a_row) / 8]
    expected = with_stored_weights(float_folder, path)
    tokens = torch.randint(3, SIZES["vocab_size"], (1, 32), generator=torch.manual_seed(0))
    program, found, wanted = Running(path), [], []
    for length in range(9, 26):  # up to FEW tokens, and more
        for first, last in ((0, length), (length, length + 1)):
            part, start = tokens[:, first:last], torch.tensor([first])
            found.append(program(part, start))
            wanted.append(expected(part, start))
    difference = (torch.cat(found) - torch.cat(wanted)).std(-1) / torch.cat(wanted).std(-1)
    difference = difference.reshape(-1, 2)
    # With 8-bit activations, more tokens than FEW may attend in bfloat16, which turns how some
    # activations are rounded behind it.
    exact = FEW - 8 if scheme in ("q4", "q6", "q8") else len(difference)
    assert (difference[:exact].median(0).values < 3e-6).all(), difference
    assert (difference < 0.1).all(), difference


@pytest.mark.parametrize(
    ("scheme", "least", "most"),
    [("q8", 0.001, 0.007), ("q6", 0.01, 0.02), ("q4", 0.05, 0.085)],
)
def test_quantised_weights_are_as_near_as_their_bits_allow(
    scheme: str, least: float, most: float, float_folder: Path, tmp_path: Path
) -> None:
    """Relative error of normal weights; from the maximum alone, 4 bits would have above 0.09."""
    path = tmp_path / "model.pte"
    export_llm(float_folder, path, quant=scheme, embedding_quant=scheme)
    rounded, original = with_stored_weights(float_folder, path), eager(float_folder)
    for name, parameter in original.named_parameters():
        if parameter.dim() == 2:
            error = (rounded.get_parameter(name) - parameter).norm() / parameter.norm()
            assert least < error < most, name


def test_embedding_and_head_have_8_bits_unless_told_otherwise(
    float_folder: Path, tmp_path: Path
) -> None:
    for given, expected in ((None, "q8g32"), ("q6", "q6g16"), ("q4", "q4g32c"), ("bf16", "bf16")):
        export_llm(float_folder, tmp_path / "m.pte", quant="q4", embedding_quant=given)
        with read_program(tmp_path / "m.pte") as file:
            formats = [format for _, format in linear_weights(file)]
            (embedding,) = calls(file, "penlight::embedding")
        assert set(formats[:-1]) == {"q4g32c"}
        assert formats[-1] == embedding[2].string_val == expected


def test_float_checkpoints_become_4_bits_and_quantised_ones_are_kept(tmp_path: Path) -> None:
    model = reference("Llama", {**WIDE, "vocab_size": 32})
    floats = saved(model, tmp_path / "model")
    q8 = gguf.GGMLQuantizationType.Q8_0
    blocks = write_gguf(tmp_path / "model.gguf", model, "Llama", lambda *_: q8)
    assert export_llm(floats, tmp_path / "a.pte").card["scheme"] == "q4"
    card = export_llm(blocks, tmp_path / "b.pte").card
    assert (card["scheme"], card["formats"]) == ("keep", ["q8g32.a16"])


def test_a_tied_head_is_stored_once(tmp_path: Path) -> None:
    changes = {"vocab_size": 4096, "hidden_size": 64, "num_attention_heads": 4}
    nbytes = {}
    for tied in (True, False):
        model = reference("Llama", {**changes, "tie_word_embeddings": tied})
        folder = saved(model, tmp_path / f"{tied}")
        report = export_llm(folder, tmp_path / f"{tied}.pte", quant="f32")
        nbytes[tied] = report.nbytes
        with read_program(report.path) as file:
            (head, _), (embedding,) = linear_weights(file)[-1], calls(file, "penlight::embedding")
            shared = head.data_buffer_idx == embedding[1].data_buffer_idx
            assert shared is tied
    assert abs(nbytes[False] - nbytes[True] - 4096 * 64 * 4) < 4096


def test_all_three_forms_of_a_checkpoint_give_the_same_tokens(tmp_path: Path) -> None:
    model = reference("Llama", {"max_position_embeddings": 4096, "rms_norm_eps": 1e-5})
    forms = [
        write_meta(tmp_path / "meta", model, shards=2),
        write_gguf(tmp_path / "model.gguf", model, "Llama"),
        saved(model, tmp_path / "folder"),
    ]
    prompt, made = [5, 17, 40, 3, 88], []
    for number, form in enumerate(forms):
        report = export_llm(form, tmp_path / f"{number}.pte", quant="q4", context=128)
        with penlight.LLM(report.path) as llm:
            logits = llm.logits(prompt)
            made.append((llm.generate(prompt, temperature=0, max_new_tokens=40).tokens, logits))
    assert len(made[0][0]) == 40
    assert [tokens for tokens, _ in made[1:]] == [made[0][0]] * 2
    assert all(np.array_equal(logits, made[0][1]) for _, logits in made)
