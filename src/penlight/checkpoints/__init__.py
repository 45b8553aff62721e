"""Checkpoints: one reader per form, one interface (`source.Checkpoint`) for all.

    from penlight.checkpoints import open_checkpoint
    with open_checkpoint("path/to/model.gguf") as checkpoint:
        ...

A path may be a GGUF file, a Hugging Face folder or a folder in Meta's form; anything that is not a
path is taken as a hub id, ``owner/name`` or ``owner/name/file.gguf``, and downloaded.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from penlight.checkpoints._ggml import Quantised
from penlight.checkpoints.source import (
    Checkpoint,
    LazyTensor,
    Provenance,
    SourceFile,
    TokenizerSpec,
)
from penlight.errors import CheckpointError

__all__ = [
    "Checkpoint",
    "LazyTensor",
    "Provenance",
    "Quantised",
    "SourceFile",
    "TokenizerSpec",
    "open_checkpoint",
]


def open_checkpoint(source: str | PathLike[str]) -> Checkpoint:
    """Opens a checkpoint without reading its weights; raises CheckpointError if it cannot."""
    from penlight.checkpoints import hub

    path = Path(source)
    if path.exists():
        return _open(path, None)
    text = str(source)
    if hub.is_hub_id(text) and not isinstance(source, Path):
        return _open(hub.fetch(text), text)
    raise CheckpointError(
        f"[{text}] expected a GGUF file, a model's folder or a hub id (owner/name) but got no such "
        "file; check the path"
    )


def _open(path: Path, name: str | None) -> Checkpoint:
    from penlight.checkpoints.gguf import open_gguf
    from penlight.checkpoints.huggingface import open_huggingface
    from penlight.checkpoints.meta import open_meta

    if path.is_file():
        return open_gguf(path, name)
    if (path / "config.json").is_file():
        return open_huggingface(path, name)
    if (path / "params.json").is_file() or any(path.glob("consolidated.*.pth")):
        return open_meta(path, name)
    if len(files := sorted(path.glob("*.gguf"))) == 1:
        return open_gguf(files[0], name)
    found = f"{len(files)} GGUF files" if files else "neither"
    raise CheckpointError(
        f"[{path}] expected a folder with config.json (Hugging Face) or params.json (Meta) but got "
        f"{found}; give the model's folder, or one GGUF file"
    )
