"""`penlight export FILE.py:NAME` writes a program, or says in one line why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Penlight, one_error_line

MODELS = """
import torch

class Scale(torch.nn.Module):
    def forward(self, x):
        return x * 2

class Needs(torch.nn.Module):
    def __init__(self, width):
        super().__init__()

class Breaks(torch.nn.Module):
    def forward(self, x):
        return x.no_such_method()

class Branches(torch.nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x

class Exotic(torch.nn.Module):
    def forward(self, x):
        return torch.linalg.eigvalsh(x)

scale = Scale()

def make():
    return Scale()

number = 3
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "models.py"
    path.write_text(MODELS)
    return path


@pytest.mark.parametrize("name", ["Scale", "scale", "make"])
def test_a_class_an_instance_and_a_function_are_models(
    penlight: Penlight, models: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "scale.pte"
    done = penlight("export", f"{models}:{name}", "-o", out, "--input-shape", "2x2:int64")
    assert done.code == 0, done.err
    assert done.out.startswith(f"wrote {out}")
    ran = penlight("run", out, "--input", "[[1, 2], [3, 4]]")
    assert ran.out == "output 0: int64 2x2\n[[2 4]\n [6 8]]\n"


def test_without_output_the_name_becomes_the_file(
    penlight: Penlight, models: Path, tmp_path: Path
) -> None:
    done = penlight("export", f"{models}:Scale", "--input-shape", "1", cwd=tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "Scale.pte").is_file()


@pytest.mark.parametrize("backend", ["null", "reference"])
def test_a_backend_takes_its_part(
    penlight: Penlight, models: Path, tmp_path: Path, backend: str
) -> None:
    out = tmp_path / "scale.pte"
    arguments = ("--input-shape", "3", "--backend", backend)
    done = penlight("export", f"{models}:Scale", "-o", out, *arguments)
    assert done.code == 0, done.err
    assert "delegate" in penlight("inspect", out).out


@pytest.mark.parametrize(
    ("source", "arguments", "says"),
    [
        ("model.gguf", [], "no such file"),
        ("absent.py:Net", [], "absent.py"),
        ("models.py:", ["--input-shape", "1"], "Scale"),
        ("models.py:Absent", ["--input-shape", "1"], "one of Scale, Needs"),
        ("models.py:number", ["--input-shape", "1"], "got int"),
        ("models.py:Needs", ["--input-shape", "1"], "width"),
        ("models.py:Scale", [], "example_inputs()"),
        ("models.py:Scale", ["--input-shape", "1xpear"], "'1xpear'"),
        ("models.py:Scale", ["--input-shape", "1", "--dtype", "float99"], "'float99'"),
        ("models.py:Scale", ["--input-shape", "99999999999x999999"], "smaller"),
        ("models.py:Scale", ["--input-shape", "4", "--dynamic", "x.7=1..2"], "'x.7=1..2'"),
        ("models.py:Scale", ["--input-shape", "4", "--dynamic", "z.0=1..2"], "one of x"),
        ("models.py:Scale", ["--input-shape", "4", "--backend", "abacus"], "reference"),
        ("models.py:Scale", ["--input-shape", "4", "-o", "no/such/x.pte"], "no/such"),
        ("models.py:Breaks", ["--input-shape", "1"], "models.py:14"),
        ("models.py:Branches", ["--input-shape", "1"], "models.py:18"),
        ("models.py:Exotic", ["--input-shape", "2x2"], "linalg_eig"),
        ("broken.py:Net", ["--input-shape", "1"], "line 2"),
        ("raises.py:Net", ["--input-shape", "1"], "raises.py:1: ZeroDivisionError"),
    ],
)
def test_what_cannot_be_exported_ends_in_one_line(
    penlight_here: Penlight, models: Path, source: str, arguments: list[str], says: str
) -> None:
    folder = models.parent
    (folder / "broken.py").write_text("import torch\nclass Net(:\n")
    (folder / "raises.py").write_text("1 / 0\n")
    before = sorted(folder.glob("*.pte"))
    message = one_error_line(penlight_here("export", source, *arguments, cwd=folder))
    assert says in message
    assert sorted(folder.glob("*.pte")) == before


def test_the_examples_export_by_their_own_words(penlight: Penlight, tmp_path: Path) -> None:
    out = tmp_path / "net.pte"
    done = penlight("export", ROOT / "examples/mobilenet_v2.py:MobileNetV2", "-o", out)
    assert done.code == 0, done.err
