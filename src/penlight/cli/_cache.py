"""Programs made from checkpoints on the way, kept for the next time."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import penlight
from penlight.errors import CheckpointError

__all__ = ["program_of"]


def program_of(model: str) -> Path:
    """The .pte file to run: the model itself, or what its checkpoint was exported to.

    Raises CheckpointError if there is nothing of that name.
    """
    if model.endswith(".pte"):
        return Path(model)
    cached = _folder() / f"{_stem(model)}-{_key(model)}.pte"
    if not cached.exists():
        from penlight.cli._llm import export_checkpoint

        print(f"exporting {model} to {cached}", file=sys.stderr)
        cached.parent.mkdir(parents=True, exist_ok=True)
        export_checkpoint(model, cached)
    return cached


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base) / "penlight" if base else Path.home() / ".cache" / "penlight"


def _stem(model: str) -> str:
    name = Path(model).name or Path(model).resolve().name
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)[:80]


def _key(model: str) -> str:
    """Changes whenever the checkpoint's files or this package do."""
    digest = hashlib.sha256(penlight.__version__.encode())
    path = Path(model)
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
    elif len(Path(model).parts) == 2 and not path.is_absolute():
        files = []  # a hub id
    else:
        raise CheckpointError(
            f"[{model}] expected a .pte file, a checkpoint or a hub id but there is no such file "
            "or folder; check the path"
        )
    digest.update(str(path.resolve() if files else model).encode())
    for file in files:
        status = file.stat()
        digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]
