"""Where a checkpoint's files come from: shards, the hub, and how much of them is read."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors
from references import reference, saved
from writers import write_gguf

from penlight import models
from penlight.checkpoints import hub, open_checkpoint
from penlight.errors import CheckpointError

INDEX = "model.safetensors.index.json"


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    reference("Llama", {}).save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    return tmp_path


def test_shards_give_the_tensors_of_one_file(sharded: Path, tmp_path_factory: Any) -> None:
    whole = saved(reference("Llama", {}), tmp_path_factory.mktemp("whole"))
    with open_checkpoint(sharded) as several, open_checkpoint(whole) as one:
        assert several.tensors.keys() == one.tensors.keys()
        for name, tensor in one.tensors.items():
            assert (several.tensors[name].read() == tensor.read()).all()


def test_missing_shards_are_named(sharded: Path) -> None:
    shards = sorted(sharded.glob("model-*.safetensors"))
    shards[1].unlink()
    shards[2].unlink()
    with pytest.raises(CheckpointError, match=f"{shards[1].name}, {shards[2].name}; finish"):
        open_checkpoint(sharded)


def test_tensors_that_shards_lack_are_named(sharded: Path) -> None:
    first, second = sorted(sharded.glob("model-*.safetensors"))[:2]
    first.write_bytes(second.read_bytes())
    with pytest.raises(CheckpointError, match=r"shards without .*embed_tokens\.weight"):
        open_checkpoint(sharded)


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", "a/b.safetensors"])
def test_an_index_reaches_no_file_outside_its_folder(shard: str, sharded: Path) -> None:
    (sharded / INDEX).write_text(json.dumps({"weight_map": {"norm.weight": shard}}))
    with pytest.raises(CheckpointError, match="shards in the same folder"):
        open_checkpoint(sharded)


@pytest.mark.parametrize("index", [{}, {"weight_map": 3}, {"weight_map": {"a": 3}}])
def test_an_index_with_a_fault_is_refused(index: Any, sharded: Path) -> None:
    (sharded / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="weight_map"):
        open_checkpoint(sharded)


def test_pickled_weights_alone_are_refused(tmp_path: Path) -> None:
    saved(reference("Llama", {}), tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"only pickled .*safetensors version"):
        open_checkpoint(tmp_path)


def test_a_multimodal_gemma_gives_its_text_model(tmp_path: Path) -> None:
    model = reference("Gemma3Text", {"head_dim": 16, "num_hidden_layers": 2})
    config = json.loads((saved(model, tmp_path) / "config.json").read_text())
    wrapped = {"model_type": "gemma3", "text_config": config}
    (tmp_path / "config.json").write_text(json.dumps(wrapped))
    _rename_tensors(tmp_path / "model.safetensors", "language_model.", "vision_tower.x")
    with open_checkpoint(tmp_path) as checkpoint:
        ours = models.build(checkpoint.config)
        models.load_float(ours, checkpoint)
    tokens = torch.arange(3, 20)[None]
    with torch.no_grad():
        expected = model(tokens).logits[:, -1]
    torch.testing.assert_close(ours(tokens, torch.tensor([0])), expected, rtol=0, atol=1e-4)


def _rename_tensors(path: Path, prefix: str, other: str) -> None:
    """Puts a prefix before every name, and adds a tensor of another part."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    header = {
        f"{prefix}{name}" if name != "__metadata__" else name: v for name, v in header.items()
    }
    header[other] = next(v for name, v in header.items() if name != "__metadata__")
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + content[8 + length :])


def test_a_folder_of_one_gguf_file_is_that_file(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a.gguf", reference("Llama", {}), "Llama")
    assert open_checkpoint(tmp_path).provenance.name == "a.gguf"
    write_gguf(tmp_path / "b.gguf", reference("Llama", {}), "Llama")
    with pytest.raises(CheckpointError, match="but got 2 GGUF files"):
        open_checkpoint(tmp_path)


def test_gguf_in_parts_is_refused(tmp_path: Path) -> None:
    path = write_gguf(
        tmp_path / "a.gguf",
        reference("Llama", {}),
        "Llama",
        extra=lambda writer: writer.add_uint16("split.count", 2),
    )
    with pytest.raises(CheckpointError, match="merge the parts"):
        open_checkpoint(path)


def test_memory_stays_far_below_the_size_of_the_weights(tmp_path: Path) -> None:
    """One row block at a time of a file of 4 GB, most of it a hole that takes no disk."""
    saved(reference("Llama", {}), tmp_path)
    rows, columns = 1 << 20, 1 << 10
    entry = {"dtype": "F32", "shape": [rows, columns], "data_offsets": [0, rows * columns * 4]}
    raw = json.dumps({"model.embed_tokens.weight": entry}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw)
    os.truncate(path, 8 + len(raw) + rows * columns * 4)
    code = (
        "from pathlib import Path; from penlight.checkpoints import open_checkpoint\n"
        f"c = open_checkpoint({str(tmp_path)!r}); t = c.tensors['embed_tokens.weight']\n"
        "for first in range(0, t.rows, 1 << 15):\n"
        "    assert not t.read_rows(first, first + 512).any()\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(int(status.split('VmHWM:')[1].split()[0]) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 150, "MB"


@pytest.mark.parametrize(
    ("text", "is_id"),
    [
        ("owner/name", True),
        ("owner/name-2.5_x@main", True),
        ("owner/name/file.Q4_K_M.gguf", True),
        ("name", False),
        ("/owner/name", False),
        ("owner/name/else", False),
        ("https://host/owner/name", False),
    ],
)
def test_a_hub_id_is_told_from_a_path(text: str, is_id: bool) -> None:
    assert hub.is_hub_id(text) is is_id


def test_a_hub_id_is_fetched_and_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(reference("Llama", {}), tmp_path)
    asked: list[Any] = []

    def snapshot(repo: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repo, revision))
        assert "original/consolidated.00.pth" not in allow_patterns
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert open_checkpoint("owner/name@v1").provenance.name == "owner/name@v1"
    assert asked == [("owner/name", "v1")]


def test_one_file_of_a_hub_model_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_gguf(tmp_path / "a.gguf", reference("Llama", {}), "Llama")

    def download(repo: str, file: str, *, revision: str | None) -> str:
        assert (repo, file, revision) == ("owner/name", "a.gguf", None)
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert open_checkpoint("owner/name/a.gguf").config.architecture == "llama"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (lambda: errors.GatedRepoError("x", response=MagicMock()), "gated; accept its terms"),
        (lambda: errors.RepositoryNotFoundError("x", response=MagicMock()), "no such model"),
        (lambda: errors.RevisionNotFoundError("x", response=MagicMock()), "no such model or rev"),
        (lambda: OSError("no route\nto host"), r"reached \(no route\); check the network"),
    ],
)
def test_what_the_hub_refuses_is_one_clear_line(
    error: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error()

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint("owner/name")
    assert "\n" not in str(caught.value)


def test_offline_is_a_clear_error(tmp_path: Path) -> None:
    code = "from penlight.checkpoints import open_checkpoint; open_checkpoint('owner/absent')"
    place = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=place)
    last = done.stderr.strip().splitlines()[-1]
    assert "[owner/absent] expected a model on the hub but got: could not be reached" in last
    assert "give the path of a local checkpoint" in last
