"""From folders of float weights to an answer and a perplexity, by the command line alone."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path

import pytest

from penlight.checkpoints import open_checkpoint
from tests.cli.conftest import Penlight

TESTS = Path(__file__).parents[1]
# The least bytes of a weight's file, and how far its perplexity may be from the float model's.
SCHEMES = {"f32": (4.0, 1e-3), "bf16": (2.0, 0.01), "q8": (1.0, 0.02), "q4": (0.5, 0.25)}
TEXT = "The quick brown fox jumps over the lazy dog. " * 3


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same random Llama as Meta and as Hugging Face keep theirs, with a tokenizer of bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sys, "path", [*sys.path, *(str(TESTS / f) for f in ("models", "checkpoints"))]
        )
        from references import reference, saved
        from writers import write_meta

    sizes = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 96, "rms_norm_eps": 1e-5}
    heads = {"num_attention_heads": 4, "num_hidden_layers": 2, "max_position_embeddings": 4096}
    model = reference("Llama", {**sizes, **heads})
    meta = write_meta(tmp_path_factory.mktemp("meta") / "Llama3-Instruct", model, shards=2)
    (meta / "tokenizer.model").write_bytes(
        b"".join(base64.b64encode(bytes([byte])) + b" %d\n" % byte for byte in range(256))
    )
    folder = saved(model, tmp_path_factory.mktemp("hugging-face"))
    with open_checkpoint(meta) as checkpoint:
        tokenizer = checkpoint.tokenizer
    assert tokenizer is not None
    (folder / "tokenizer.json").write_bytes(bytes(tokenizer.tokenizer_json))
    begin, ends = tokenizer.special_tokens["bos_token"], list(tokenizer.stop_ids)
    template = tokenizer.chat_template
    settings = {"bos_token": begin, "add_bos_token": True, "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    return {"meta": meta, "hugging-face": folder}


@pytest.fixture(autouse=True)
def nothing_piped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_both_kinds_of_folders_chat_and_are_judged_alike(
    scheme: str, folders: dict[str, Path], penlight_here: Penlight, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    ask = ("--prompt", "Hello", "--temperature", 0, "-n", 24)
    answers, results = [], []
    for form, folder in folders.items():
        program = tmp_path / f"{form}.pte"
        made = penlight_here("export", folder, "-o", program, "--quant", scheme)
        assert made.code == 0, made.err
        assert f"\nscheme        {scheme} (" in made.out
        said = penlight_here("chat", program, *ask)
        assert said.code == 0, said.err
        answers.append(said.out)
        judged = penlight_here(
            *("eval", program, "--text", tmp_path / "text.txt", "--against", folder, "--json")
        )
        assert judged.code == 0, judged.err
        results.append(json.loads(judged.out))

    assert answers[0] == answers[1]
    assert answers[0].strip()
    least, most = SCHEMES[scheme]
    for result in results:
        assert result["perplexity"] == pytest.approx(results[0]["perplexity"], rel=1e-6)
        assert result["perplexity"] == pytest.approx(result["reference_perplexity"], rel=most)
        assert 0 <= result["mean_kl"] < most
    assert (tmp_path / "meta.pte").stat().st_size > least * 512 * 64


def test_a_folder_chats_without_being_exported_by_hand(
    folders: dict[str, Path],
    penlight_here: Penlight,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ask = ("--prompt", "Hello", "--temperature", 0, "-n", 8)
    said = [penlight_here("chat", folder, *ask) for folder in folders.values()]
    assert [done.code for done in said] == [0, 0], said[0].err + said[1].err
    assert said[0].out == said[1].out
    assert len(list(tmp_path.rglob("*.pte"))) == 2
