"""The peers' Python environments: what is installed into each, from the package index of pip.

torch is named again as a constraint in every step, so that no package replaces its CPU build.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from lab import LAB, Records, last_lines, run, say

TORCH = "torch==2.13.0"
LLAMA = "llama-cpp-python==0.3.36"


@dataclass(frozen=True)
class Environment:
    """steps: arguments of pip, in order. settings: environment variables of theirs."""

    name: str
    steps: tuple[tuple[str, ...], ...]
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return LAB / "environments" / self.name

    def tool(self, name: str) -> Path:
        """A program of this environment."""
        return self.folder / "bin" / name


SOURCES = LAB / "environments" / "llamacpp-source"  # the sdist, for its converter
ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment(
            "executorch",
            (
                ("install", TORCH),
                ("install", TORCH, "executorch==1.5.1", "tokenizers", "pytorch_tokenizers"),
            ),
        ),
        Environment(
            "llamacpp",
            (
                (
                    *("download", "--no-binary", "llama-cpp-python", "--no-deps"),
                    *("--dest", str(SOURCES), LLAMA),
                ),
                ("install", str(SOURCES / f"{LLAMA.replace('-', '_').replace('==', '-')}.tar.gz")),
            ),
            {"CMAKE_ARGS": "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF"},
        ),
        Environment(
            "onnxruntime",
            (
                ("install", TORCH),
                (
                    *("install", TORCH, "onnxruntime==1.31.1", "onnxruntime-genai==0.18.0"),
                    *("transformers==5.23.0", "onnx", "onnx-ir", "onnxscript"),
                ),
            ),
        ),
        Environment(
            "openvino",
            (
                ("install", TORCH),
                (
                    *("install", TORCH, "optimum-intel[openvino]==2.2.0", "nncf==3.4.0"),
                    "openvino-genai==2026.4.1.0",
                ),
                # Not used, and its build does not match a CPU build of torch.
                ("uninstall", "--yes", "torchvision"),
            ),
        ),
    )
}


def install(environment: Environment, records: Records) -> bool:
    """Makes an environment unless it is there; returns whether it can be used.

    A failure is recorded, and the next time it is tried again.
    """
    key = f"environment {environment.name}"
    wanted = [list(step) for step in environment.steps]
    known = records.get(key)
    if known.get("steps") == wanted and "versions" in known and environment.folder.exists():
        return True
    say(f"installing {environment.name} (minutes)")
    commands = [[sys.executable, "-m", "venv", str(environment.folder)]]
    pip = [str(environment.tool("python")), "-m", "pip", "--disable-pip-version-check"]
    commands += [[*pip, step[0], "--progress-bar", "off", *step[1:]] if step[0] != "uninstall"
                 else [*pip, *step] for step in environment.steps]  # fmt: skip
    record: dict[str, object] = {"steps": wanted, "settings": environment.settings}
    for number, command in enumerate(commands):
        name = f"install-{environment.name}-{number}"
        done = run(name, command, environment=environment.settings, isolated=True)
        if done.code:
            record["error"] = last_lines(done.output)
            say(f"{environment.name} could not be installed:\n{record['error']}")
            break
    else:
        record["versions"] = versions(environment)
        if environment.name == "llamacpp":
            unpack_sources()
    records.put(key, record)
    return "error" not in record


def unpack_sources() -> None:
    """The converter in the sdist's folder of third parties."""
    for archive in SOURCES.glob("*.tar.gz"):
        shutil.unpack_archive(archive, SOURCES, filter="data")


def versions(environment: Environment) -> dict[str, str]:
    """Every distribution in an environment."""
    listed = subprocess.run(
        [environment.tool("python"), "-m", "pip", "list", "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {entry["name"]: entry["version"] for entry in json.loads(listed.stdout)}
