"""Which program a checkpoint's name stands for: what was exported before, or a new export."""

from __future__ import annotations

from pathlib import Path

import pytest

from penlight.checkpoints import hub
from penlight.cli import _llm
from penlight.cli._cache import program_of


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the checkpoints that were exported, each to an empty file."""
    names: list[str] = []

    def export(source: str, path: Path) -> None:
        names.append(source)
        path.write_bytes(b"")

    monkeypatch.setattr(_llm, "export_checkpoint", export)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return names


def on_the_hub(monkeypatch: pytest.MonkeyPatch, commit: str | None) -> None:
    monkeypatch.setattr(hub, "current_commit", lambda _: commit)


@pytest.mark.parametrize("name", ["owner/name", "owner/name@main", "owner/name/file.gguf"])
def test_a_model_of_the_hub_is_exported_again_when_its_revision_changed(
    name: str,
    exported: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_the_hub(monkeypatch, "a" * 40)
    first = program_of(name)
    assert program_of(name) == first
    assert exported == [name]

    on_the_hub(monkeypatch, "b" * 40)
    second = program_of(name)
    assert second != first
    assert exported == [name, name]

    capsys.readouterr()
    on_the_hub(monkeypatch, "a" * 40)
    assert program_of(name) == first
    assert capsys.readouterr().err == ""


def test_without_the_hub_the_latest_export_is_taken_and_that_is_said(
    exported: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_the_hub(monkeypatch, "a" * 40)
    made = program_of("owner/name")
    on_the_hub(monkeypatch, None)
    capsys.readouterr()
    assert program_of("owner/name") == made
    assert "cannot be asked whether owner/name has changed" in capsys.readouterr().err
    program_of("owner/other")  # nothing to take: exporting it says what is wrong, or works offline
    assert exported == ["owner/name", "owner/other"]


def test_a_changed_file_is_exported_again(exported: list[str], tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF1")
    first = program_of(str(path))
    assert program_of(str(path)) == first
    path.write_bytes(b"GGUF22")
    assert program_of(str(path)) != first
    assert len(exported) == 2


def test_a_commit_is_taken_at_its_word_and_no_network_is_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import huggingface_hub

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    commit = "0123456789" * 4
    assert hub.current_commit(f"owner/name@{commit}") == commit
    assert hub.current_commit("owner/name") is None
    assert hub.current_commit("not a hub id") is None
