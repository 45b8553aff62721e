"""Where the native half of an installed package lies: headers, library, CMake package.

    cc main.c -I"$(python -c 'import penlight; print(penlight.include_dir())')" ...

The wheel carries all three beside the Python files. An editable install has them in a second
folder of the package's path, so every folder of it is searched.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from penlight.errors import RuntimeFailure

__all__ = ["cmake_dir", "include_dir", "library_path"]

_LIBRARY_NAMES = {"darwin": "libpenlight.dylib", "win32": "penlight.dll"}


def include_dir() -> Path:
    """The folder to compile with: it holds ``penlight/penlight.h``."""
    return _installed("include")


def library_path() -> Path:
    """The shared library; the environment variable PENLIGHT_LIBRARY names another one.

    Raises `RuntimeFailure` if there is none, for example in a source tree that was never built.
    """
    chosen = os.environ.get("PENLIGHT_LIBRARY")
    if chosen:
        path = Path(chosen)
        if not path.is_file():
            raise RuntimeFailure(
                f"[library] expected a shared library in PENLIGHT_LIBRARY but {path} is no file; "
                "correct the variable or unset it"
            )
        return path
    return _installed("lib/" + _LIBRARY_NAMES.get(sys.platform, "libpenlight.so"))


def cmake_dir() -> Path:
    """The folder to give CMake as ``-Dpenlight_DIR=``, for ``find_package(penlight)``."""
    return _installed("lib/cmake/penlight")


def _installed(relative: str) -> Path:
    folders = [Path(folder) for folder in sys.modules["penlight"].__path__]
    for folder in folders:
        if (folder / relative).exists():
            return folder / relative
    raise RuntimeFailure(
        f"[library] expected {relative} in the installed package but it is not in "
        f"{' or '.join(map(str, folders))}; install with `pip install .` (or run `make` in the "
        "source tree)"
    )
