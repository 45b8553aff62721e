"""What cannot be exported ends in one clear line, and leaves nothing behind."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import chat_folder
from references import reference, saved
from writers import write_gguf

import penlight
from penlight.errors import CheckpointError, ExportError, PenlightError, UnsupportedError
from penlight.llm.export import export_llm


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = reference("Llama", {"num_hidden_layers": 1})
    return saved(model, tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """A folder that must be empty at the end."""
    folder = tmp_path / "out"
    folder.mkdir()
    yield folder / "model.pte"
    assert list(folder.iterdir()) == []


def refused(kind: type[PenlightError], message: str, *arguments: Any, **options: Any) -> None:
    with pytest.raises(kind, match=message) as caught:
        export_llm(*arguments, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert "expected" in text and "but got" in text and ";" in text


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def without_a_shard(folder: Path) -> None:
    sorted(folder.glob("model-*.safetensors"))[1].unlink()


def with_another_size(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 96}))


def of_an_unknown_kind(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    changed = {"model_type": "mamba", "architectures": ["MambaForCausalLM"]}
    (folder / "config.json").write_text(json.dumps({**config, **changed}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_a_shard, r"model-00002-of-\d+\.safetensors"),
        (with_another_size, r"gate_proj.weight \[80, 48\] instead of \[96, 48\]"),
        (of_an_unknown_kind, "gemma2.*llama.*qwen2.*mamba"),
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "tokenizer.json"),
    ],
)
def test_a_damaged_folder_is_refused(
    damage: Callable[[Path], object], message: str, tmp_path: Path, out: Path
) -> None:
    folder = tmp_path / "model"
    reference("Llama", {}).save_pretrained(folder, max_shard_size="60KB")
    damage(folder)
    refused(CheckpointError, message, folder, out)


def test_a_truncated_gguf_is_refused(tmp_path: Path, out: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf", reference("Llama", {}), "Llama")
    cut(path)
    refused(CheckpointError, "truncated", path, out)


def test_a_missing_source_is_refused(tmp_path: Path, out: Path) -> None:
    refused(CheckpointError, "nowhere", tmp_path / "nowhere.gguf", out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quant": "q3"}, "keep, q4, q6, q8, bf16, f32 but got 'q3'"),
        ({"embedding_quant": "int8"}, "but got 'int8'"),
        ({"context": 0}, r"\[context\] expected at least 2"),
        ({"prefill": 1}, r"\[prefill\] expected at least 2"),
        ({"cache": "int4"}, "float16, float32, int8 but got 'int4'"),
    ],
)
def test_wrong_arguments_are_refused(
    options: dict[str, Any], message: str, tiny: Path, out: Path
) -> None:
    refused(ExportError, message, tiny, out, **options)


def test_outputs_that_cannot_be_are_refused(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.pte").mkdir()
    (tmp_path / "file").write_text("")
    refused(ExportError, "ends in .pte", tiny, tmp_path / "model.bin")
    refused(ExportError, "got a folder", tiny, tmp_path / "folder.pte")
    refused(ExportError, "which is no folder", tiny, tmp_path / "missing" / "model.pte")
    refused(ExportError, "which is no folder", tiny, tmp_path / "file" / "model.pte")
    refused(ExportError, "can be written|free space", tiny, "/proc/model.pte")
    assert {p.name for p in tmp_path.iterdir()} == {"folder.pte", "file"}


def test_a_disk_that_is_too_small_is_known_before_the_work(
    tiny: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("penlight.llm.export.shutil.disk_usage", lambda _: usage)
    refused(ExportError, "MB of free space but got 0 MB", tiny, out)


def test_a_disk_that_fills_up_leaves_nothing(tiny: Path, out: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        refused(ExportError, "can be written but got: File too large", tiny, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_a_failed_export_leaves_the_old_file(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    path.write_text("old")
    refused(ExportError, "q3", tiny, path, quant="q3")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["model.pte"]


def test_without_a_tokenizer_there_is_no_chat_but_tokens(tiny: Path, tmp_path: Path) -> None:
    report = export_llm(tiny, tmp_path / "model.pte")
    with penlight.LLM(report.path) as llm:
        with pytest.raises(UnsupportedError, match="expected a tokenizer in the file"):
            llm.chat([{"role": "user", "content": "Hi"}])
        assert len(llm.generate([5], temperature=0, max_new_tokens=4, ignore_eos=True).tokens) == 4


def test_without_a_chat_template_text_is_completed(tmp_path: Path) -> None:
    folder = chat_folder(reference("Llama", {"num_hidden_layers": 1}), tmp_path / "model")
    (folder / "tokenizer_config.json").write_text("{}")
    with penlight.LLM(export_llm(folder, tmp_path / "model.pte").path) as llm:
        with pytest.warns(UserWarning, match="no chat template"):
            llm.chat([{"role": "user", "content": "w5 w6"}], max_new_tokens=2)
        assert llm.context_used >= 2
