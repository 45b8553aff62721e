"""Native code that tests need, built by CMake once and kept in the build folder.

    driver = built(ROOT / "tests/sanitized", "sanitized/address", "driver")

Workers that want the same build wait for each other, and only what changed is built again.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
_TOOLS = Path(sys.executable).parent  # cmake and ninja come with the developer environment


def built(source: Path, name: str, target: str, options: Mapping[str, str] | None = None) -> Path:
    """The folder ``build/<name>``, with `target` of the CMake project in `source` up to date.

    `options` are cache variables. Raises AssertionError with the compiler's words if it fails.
    """
    folder = ROOT / "build" / name
    folder.mkdir(parents=True, exist_ok=True)
    given = [f"-D{key}={value}" for key, value in (options or {}).items()]
    configure = [_TOOLS / "cmake", "-S", source, "-B", folder, "-G", "Ninja", *given]
    configure.append(f"-DCMAKE_MAKE_PROGRAM={_TOOLS / 'ninja'}")
    build = [_TOOLS / "ninja", "-C", folder, "-j2", target]
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (configure, build):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return folder
