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
    _check_exists(model)
    folder, name = _folder(), f"{_stem(model)}-{_key(model)}"
    if _is_on_the_hub(model):
        from penlight.checkpoints.hub import current_commit

        commit = current_commit(model)
        older = sorted(folder.glob(f"{name}-*.pte"), key=lambda file: file.stat().st_mtime_ns)
        if commit is None and older:
            print(
                f"the hub cannot be asked whether {model} has changed: taking what was exported "
                "before",
                file=sys.stderr,
            )
            return older[-1]
        name += f"-{(commit or 'unknown')[:12]}"
    cached = folder / f"{name}.pte"
    if not cached.exists():
        from penlight.cli._llm import export_checkpoint

        cached.parent.mkdir(parents=True, exist_ok=True)
        export_checkpoint(model, cached)
        print(f"exported {model} to {cached}, for the next time too", file=sys.stderr)
    return cached


def _is_on_the_hub(model: str) -> bool:
    """Whether it is owner/name or owner/name/file.gguf, perhaps with @revision, and no path."""
    from penlight.checkpoints.hub import is_hub_id

    return (
        is_hub_id(model)
        and model[0] != "."
        and (model.count("/") == 2 or Path(model).suffix != ".gguf")
        and not Path(model).exists()
    )


def _check_exists(model: str) -> None:
    if not Path(model).exists() and not _is_on_the_hub(model):
        raise CheckpointError(
            f"[{model}] expected a .pte file, a checkpoint or a hub id (owner/name) but there is "
            "no such file or folder; check the path"
        )


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
    """Changes whenever the checkpoint's files or this package do; of a hub id, with its name."""
    package = Path(penlight.__file__).parent
    newest = max(file.stat().st_mtime_ns for file in package.rglob("*.py"))
    digest = hashlib.sha256(f"{penlight.__version__} {newest}".encode())
    path = Path(model)
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    digest.update(os.fsencode(path.resolve()) if path.exists() else model.encode())
    for file in files if path.exists() else []:
        status = file.stat()
        digest.update(os.fsencode(f"{file.name} {status.st_size} {status.st_mtime_ns}"))
    return digest.hexdigest()[:16]
