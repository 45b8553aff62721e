"""Damaged and hostile checkpoints end in one clear error, whatever is wrong with them."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import reference, saved
from writers import write_gguf, write_meta

from penlight import models
from penlight.checkpoints import open_checkpoint
from penlight.errors import CheckpointError


def read_all(path: Path) -> None:
    with open_checkpoint(path) as checkpoint:
        models.check_tensors(models.build(checkpoint.config, device="meta"), checkpoint)
        for tensor in checkpoint.tensors.values():
            tensor.read()


def refuse(path: Path, message: str = "expected .* but got.*; ") -> str:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_all(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def gguf_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    def tokens(writer: Any) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list([f"t{i}" for i in range(97)])
        writer.add_token_types([1] * 97)
        writer.add_token_merges(["t 1"])

    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    model = reference("Llama", {"num_hidden_layers": 1, "tie_word_embeddings": True})
    return write_gguf(path, model, "Llama", extra=tokens).read_bytes()


def test_gguf_cut_short_anywhere_is_refused(gguf_bytes: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    header = gguf_bytes.index(b"blk.0.attn_q.weight")
    last = len(gguf_bytes) - 32  # the last tensor ends within the padding
    for size in (*range(0, header, 61), *range(header, last, 997), last):
        path.write_bytes(gguf_bytes[:size])
        refuse(path)


@given(st.data())
def test_gguf_with_any_bytes_changed_is_read_or_refused(
    gguf_bytes: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    header = gguf_bytes.index(b"blk.0.attn_q.weight") + 200
    changed = bytearray(gguf_bytes)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, header))
        changed[at] = data.draw(st.sampled_from([0, 1, 9, 127, 128, 255]))
    path = tmp_path_factory.mktemp("changed") / "model.gguf"
    path.write_bytes(changed)
    with contextlib.suppress(CheckpointError):  # any other exception fails the test
        read_all(path)


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def header(tensors: int, metadata: int, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, metadata)


def entry(key: str, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def tensor(name: str, shape: list[int], kind: int = 0, offset: int = 0) -> bytes:
    sizes = struct.pack(f"<{len(shape)}Q", *shape)
    return string(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", kind, offset)


ARRAY = struct.pack("<IQ", 9, 1)
HUGE = 2**64 - 1
GGUF_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "4 bytes of the magic"),
    "another magic": (header(0, 0, magic=b"GGML"), "magic b'GGUF' but got b'GGML'"),
    "version 1": (header(0, 0, version=1), "version 2 or 3 but got 1"),
    "big endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "little endian"),
    "countless tensors": (header(HUGE, 0), "at most 0 tensors"),
    "countless metadata": (header(0, HUGE), "at most 0 metadata"),
    "an endless key": (header(0, 1) + struct.pack("<Q", HUGE) + bytes(64), "metadata key"),
    "a key that is not text": (header(0, 1) + string(b"\xff\xfe") + bytes(16), "UTF-8"),
    "a key that escapes": (header(0, 1) + string("a\x1b[2J") + bytes(16), r"'a\\x1b\[2J'"),
    "a tensor that escapes": (header(1, 0) + tensor("a\nb", [4]), r"'a\\nb'"),
    "an unknown type": (header(0, 1) + entry("a", 99, bytes(8)), "a of a type from 0 to 12"),
    "an array of unknown type": (
        header(0, 1) + entry("a", 9, struct.pack("<IQ", 99, 1) + bytes(8)),
        "elements of a",
    ),
    "an endless array": (
        header(0, 1) + entry("a", 9, struct.pack("<IQ", 4, HUGE // 4)),
        "at most 0 elements",
    ),
    "arrays within arrays": (header(0, 1) + entry("a", 9, ARRAY * 2000), "4 arrays in each other"),
    "a key twice": (header(0, 2) + entry("a", 0, b"\0") * 2 + bytes(16), "'a' twice"),
    "a tensor twice": (header(2, 0) + tensor("a", [4]) * 2 + bytes(64), "'a' twice"),
    "a tensor without sizes": (header(1, 0) + tensor("a", []) + bytes(64), "rank 1 to 4"),
    "a tensor of rank 9": (header(1, 0) + tensor("a", [1] * 9) + bytes(64), "rank 1 to 4"),
    "an endless tensor": (header(1, 0) + tensor("a", [HUGE, HUGE]) + bytes(64), "size that the"),
    "an empty tensor": (header(1, 0) + tensor("a", [0, 4]) + bytes(64), "size that the"),
    "a tensor beyond the end": (header(1, 0) + tensor("a", [64]) + bytes(64), "256 bytes at"),
    "a tensor far beyond the end": (
        header(1, 0) + tensor("a", [4], offset=HUGE - 31) + bytes(64),
        "16 bytes at",
    ),
    "a tensor out of line": (
        header(1, 0) + tensor("a", [4], offset=3) + bytes(64),
        "multiple of 32",
    ),
    "an unknown kind": (header(1, 0) + tensor("a", [32], kind=16) + bytes(99), "known kind.*16"),
    "half a block": (header(1, 0) + tensor("a", [31], kind=2) + bytes(99), "multiple of 32 col"),
    "an odd alignment": (
        header(0, 1) + entry("general.alignment", 4, struct.pack("<I", 33)),
        "power of two",
    ),
    "no alignment": (
        header(0, 1) + entry("general.alignment", 4, struct.pack("<I", 0)),
        "power of two",
    ),
    "no architecture": (header(0, 0), "known architecture .*llama.*qwen2.*'nothing'"),
    "another architecture": (
        header(0, 1) + entry("general.architecture", 8, string("mamba")),
        "known architecture .*llama.*'mamba'",
    ),
    "metadata of the wrong type": (
        header(0, 2)
        + entry("general.architecture", 8, string("llama"))
        + entry("llama.block_count", 8, string("many")),
        "a number",
    ),
}


@pytest.mark.parametrize("fault", GGUF_FILES)
def test_gguf_with_a_fault_is_refused(fault: str, tmp_path: Path) -> None:
    content, message = GGUF_FILES[fault]
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    refuse(path, message)


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def described(**changes: Any) -> dict[str, Any]:
    return {"norm.weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **changes}}


SAFETENSORS_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "8 bytes at 0"),
    "an endless header": (safetensors({}, length=HUGE), "header of 2 to"),
    "a header beyond the end": (safetensors({}, length=99), "header of 2 to"),
    "a header that is not JSON": (safetensors(b"{{{{"), "JSON header"),
    "a header that is not text": (safetensors(b"\xff\xfe\xfd\xfc"), "JSON header"),
    "a header of a thousand levels": (safetensors(b"[" * 100_000), "JSON header"),
    "a header that is a list": (safetensors([1]), "JSON object"),
    "a tensor twice": (safetensors(b'{"a":{},"a":{}}'), "two entries"),
    "a tensor that escapes": (safetensors({"a\x1b[2J": {}}), r"'a\\x1b\[2J'"),
    "a tensor without a shape": (safetensors({"a": {"dtype": "F32"}}), "dtype, shape"),
    "a tensor that is a number": (safetensors({"a": 3}), "dtype, shape"),
    "a negative size": (safetensors(described(shape=[-4]), bytes(16)), "a shape"),
    "a size that is text": (safetensors(described(shape=["4"]), bytes(16)), "a shape"),
    "an overflowing size": (safetensors(described(shape=[2**40, 2**40]), bytes(16)), "bytes at"),
    "offsets of another size": (safetensors(described(data_offsets=[0, 12]), bytes(16)), "16 byt"),
    "offsets beyond the end": (safetensors(described(data_offsets=[8, 24]), bytes(16)), "at"),
    "offsets before the start": (safetensors(described(data_offsets=[-8, 8]), bytes(16)), "offset"),
    "an unknown dtype": (safetensors(described(dtype="Q99"), bytes(16)), "to be one of"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(reference("Llama", {"num_hidden_layers": 1}), tmp_path_factory.mktemp("hf"))


def changed(folder: Path, to: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy whose config.json was changed."""
    values = json.loads((folder / "config.json").read_text())
    change(values)
    (to / "config.json").write_text(json.dumps(values))
    if not (to / "model.safetensors").exists():
        os.symlink(folder / "model.safetensors", to / "model.safetensors")
    return to


@pytest.mark.parametrize("fault", SAFETENSORS_FILES)
def test_safetensors_with_a_fault_is_refused(fault: str, folder: Path, tmp_path: Path) -> None:
    content, message = SAFETENSORS_FILES[fault]
    (tmp_path / "model.safetensors").write_bytes(content)
    refuse(changed(folder, tmp_path, lambda _: None), message)


def test_safetensors_cut_short_anywhere_is_refused(folder: Path, tmp_path: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    for size in (*range(0, 2000, 83), *range(2000, len(content), 4999), len(content) - 1):
        (tmp_path / "model.safetensors").write_bytes(content[:size])
        refuse(changed(folder, tmp_path, lambda _: None))


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "another architecture": ({"model_type": "mamba"}, "known architecture .*llama.*'mamba'"),
    "no architecture": ({"model_type": None}, "known architecture"),
    "a size that is text": ({"hidden_size": "48"}, "hidden_size to be a number but got '48'"),
    "a broken size": ({"hidden_size": 48.5}, "hidden_size to be a whole number"),
    "no size": ({"vocab_size": None}, "vocab_size to be a number but got nothing"),
    "no heads": ({"num_attention_heads": 0}, "heads"),
    "another size": ({"hidden_size": 60}, r"q_proj.weight \[48, 48\] instead of \[48, 60\]"),
    "a layer more": ({"num_hidden_layers": 2}, "without .*layers.1.self_attn.q_proj.weight.*more"),
    "a bias more": ({"attention_bias": True}, "without layers.0.self_attn.q_proj.bias"),
    "no layers": ({"num_hidden_layers": 0}, "num_hidden_layers"),
    "countless layers": ({"num_hidden_layers": 10**12}, "layers from 1 to 4096"),
    "a huge size": ({"vocab_size": 10**12}, "vocab_size.*1 to"),
    "a size beyond numbers": ({"hidden_size": 10**400}, "hidden_size to be a finite"),
    "a number that is none": ({"rms_norm_eps": float("nan")}, "rms_norm_eps to be a finite"),
    "an infinite number": ({"rope_theta": float("-inf"), "rope_parameters": {}}, "rope_theta"),
    "odd heads": ({"head_dim": 7}, "even number"),
    "a gemma without scale": ({"model_type": "gemma2", "query_pre_attn_scalar": 0}, "positive"),
    "a yarn without end": (
        {"rope_parameters": {"rope_type": "yarn", "factor": 4, "beta_fast": -1}},
        "beta_fast",
    ),
    "an unknown rope": ({"rope_parameters": {"rope_type": "spiral"}}, "rope_type to be default"),
    "a rope that is a number": ({"rope_parameters": 4}, "rope_parameters to be an object"),
    "quantised weights": ({"quantization_config": {"quant_method": "awq"}}, "'awq'"),
    "another activation": ({"hidden_act": "relu"}, "silu but got 'relu'"),
}


@pytest.mark.parametrize("fault", CONFIGS)
def test_a_configuration_with_a_fault_is_refused(fault: str, folder: Path, tmp_path: Path) -> None:
    changes, message = CONFIGS[fault]
    refuse(changed(folder, tmp_path, lambda values: values.update(changes)), message)


def test_tensors_that_the_architecture_does_not_use_are_named(tmp_path: Path) -> None:
    qwen = saved(reference("Qwen2", {}), tmp_path)
    changed(qwen, tmp_path, lambda values: values.update(model_type="llama"))
    refuse(tmp_path, "layers.0.self_attn.q_proj.bias.* does not use")


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch PWNED",)


@pytest.mark.parametrize("content", ["code", "not a tensor", "a list", "nothing", "text"])
def test_a_pickle_of_more_than_tensors_is_refused_and_not_run(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_meta(tmp_path / "m", reference("Llama", {}))
    shard = folder / "consolidated.00.pth"
    if content == "code":
        torch.save({"tok_embeddings.weight": Payload()}, shard)
    elif content == "not a tensor":
        torch.save({"tok_embeddings.weight": 3}, shard)
    elif content == "a list":
        torch.save([torch.zeros(3)], shard)
    else:
        shard.write_bytes(b"" if content == "nothing" else b"hello\n" * 99)
    refuse(folder, "tensors alone but got" if content == "code" else "expected .* but got")
    assert not (tmp_path / "PWNED").exists()


def test_a_bare_pickle_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_meta(tmp_path / "m", reference("Llama", {}))
    (folder / "consolidated.00.pth").write_bytes(pickle.dumps(Payload()))
    refuse(folder, "file of torch.save but got another format")
    assert not (tmp_path / "PWNED").exists()


def test_meta_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    folder = write_meta(tmp_path / "m", reference("Llama", {"num_hidden_layers": 1}))
    shard = folder / "consolidated.00.pth"
    content = shard.read_bytes()
    for size in range(0, len(content), 4999):
        shard.write_bytes(content[:size])
        refuse(folder)


def test_meta_shards_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = write_meta(tmp_path / "m", reference("Llama", {}), shards=2)
    other = reference("Llama", {"num_hidden_layers": 3})
    lone = write_meta(tmp_path / "lone", other)
    (folder / "consolidated.01.pth").write_bytes((lone / "consolidated.00.pth").read_bytes())
    refuse(folder, "consolidated.01.pth. expected the same tensors.*layers.3")
    (folder / "consolidated.00.pth").unlink()
    refuse(folder, "consolidated.00.pth and all that follow it but got consolidated.01.pth")


@pytest.mark.parametrize("params", ["", "[]", "{}", '{"dim": "x"}', "\xff"])
def test_meta_with_bad_params_is_refused(params: str, tmp_path: Path) -> None:
    folder = write_meta(tmp_path / "m", reference("Llama", {}))
    (folder / "params.json").write_bytes(params.encode("latin-1"))
    refuse(folder, "params.json")


@pytest.mark.parametrize("model", [b"", b"hello\n", bytes(range(256)) * 9, b"\x0a\x05\x0a\x03a"])
def test_a_tokenizer_model_with_a_fault_is_refused(
    model: bytes, folder: Path, tmp_path: Path
) -> None:
    changed(folder, tmp_path, lambda _: None)
    (tmp_path / "tokenizer.model").write_bytes(model)
    refuse(tmp_path, "tokenizer.model. expected a sentencepiece model")


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"model": 3}', b'{"added_tokens": 3}'])
def test_a_tokenizer_json_with_a_fault_is_refused(
    content: bytes, folder: Path, tmp_path: Path
) -> None:
    changed(folder, tmp_path, lambda _: None)
    (tmp_path / "tokenizer.json").write_bytes(content)
    refuse(tmp_path, "tokenizer.json")


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path, "config.json .* params.json .* but got neither")
    refuse(tmp_path / "absent.gguf", "no such file")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    refuse(tmp_path)


def test_a_shrinking_file_is_an_error_and_no_crash(gguf_bytes: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes)
    with open_checkpoint(path) as checkpoint:
        os.truncate(path, len(gguf_bytes) // 2)
        last = max(checkpoint.tensors.values(), key=lambda tensor: getattr(tensor, "offset", 0))
        with pytest.raises(CheckpointError, match="truncated"):
            last.read()


def test_rows_outside_a_tensor_are_refused(gguf_bytes: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes)
    with open_checkpoint(path) as checkpoint:
        tensor = checkpoint.tensors["embed_tokens.weight"]
        for first, last in ((-1, 3), (0, 98), (5, 4)):
            with pytest.raises(CheckpointError, match="rows within 0 to 97"):
                tensor.read_rows(first, last)
        with pytest.raises(CheckpointError, match="expected a quantised tensor but got float32"):
            tensor.raw_quantised()
        assert np.array_equal(tensor.read_rows(4, 4), np.empty((0, 48)))


def test_reading_checkpoints_imports_no_torch(gguf_bytes: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes)
    code = (
        "import sys; from penlight.checkpoints import open_checkpoint; "
        f"c = open_checkpoint({str(path)!r}); c.tensors['norm.weight'].read(); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
