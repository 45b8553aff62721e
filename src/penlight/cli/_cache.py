"""Programs made from checkpoints on the way, kept for the next time."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import penlight
from penlight.errors import CheckpointError

__all__ = ["program_of"]

_IDENTIFIER = b"ET12"  # of a program, at its fifth byte


def program_of(model: str) -> Path:
    """The .pte file to run: the model itself, or what its checkpoint was exported to.

    Raises CheckpointError if there is nothing of that name, or it cannot be exported.
    """
    path = Path(model)
    if model.endswith(".pte") or _is_program(path):
        return path
    cached = _folder() / f"{_stem(model)}-{_key(model)}.pte"
    if not cached.exists():
        from penlight.cli._llm import export_checkpoint

        cached.parent.mkdir(parents=True, exist_ok=True)
        export_checkpoint(model, cached)
        print(f"exported {model} to {cached}, for the next time too", file=sys.stderr)
    return cached


def _is_program(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8)[4:] == _IDENTIFIER


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base) / "penlight" if base else Path.home() / ".cache" / "penlight"


def _stem(model: str) -> str:
    name = Path(model).name or Path(model).resolve().name
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)[:80]


def _key(model: str) -> str:
    """Changes whenever the checkpoint's files or this package do; a hub id is taken at its word."""
    from penlight.checkpoints.hub import is_hub_id

    package = Path(penlight.__file__).parent
    newest = max(file.stat().st_mtime_ns for file in package.rglob("*.py"))
    digest = hashlib.sha256(f"{penlight.__version__} {newest}".encode())
    path = Path(model)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
    elif path.exists():
        files = [path]
    elif is_hub_id(model) and model[0] != "." and (model.count("/") == 2 or path.suffix != ".gguf"):
        files = []  # owner/name or owner/name/file.gguf
    else:
        raise CheckpointError(
            f"[{model}] expected a .pte file, a checkpoint or a hub id (owner/name) but there is "
            "no such file or folder; check the path"
        )
    digest.update(os.fsencode(path.resolve()) if files else model.encode())
    for file in files:
        status = file.stat()
        digest.update(os.fsencode(f"{file.name} {status.st_size} {status.st_mtime_ns}"))
    return digest.hexdigest()[:16]
