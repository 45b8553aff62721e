"""`penlight run` reads values as the inputs are declared, and prints what the program gives."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Penlight, one_error_line


def test_one_plus_two_is_three(penlight: Penlight, add_pte: Path) -> None:
    done = penlight("run", add_pte, "--input", "1.0", "--input", "2.0")
    assert (done.code, done.out) == (0, "3.0\n"), done.err


def test_needs_no_torch_and_starts_without_it(add_pte: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"  # importing it now fails
        "from penlight.cli._app import run_command_line\n"
        f"sys.exit(run_command_line(['run', {str(add_pte)!r}, '--input', '1', '--input', '2']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "3.0\n"), done.stderr


@pytest.mark.parametrize("value", ["[1, 2]", "@pair.npy", "@pair.npz:x", "@one.npz"])
def test_lists_and_files_are_values(
    penlight: Penlight, mlp_pte: Path, tmp_path: Path, value: str
) -> None:
    pair = np.array([[1, 2, 3, 4]], np.float32)
    np.save(tmp_path / "pair.npy", pair)
    np.savez(tmp_path / "pair.npz", x=pair, y=pair)
    np.savez(tmp_path / "one.npz", only=pair)
    text = "[1, 2, 3, 4]" if value.startswith("[") else value
    done = penlight("run", mlp_pte, "--input", text, "--output", "out.npz", cwd=tmp_path)
    assert done.code == 0, done.err
    expected = penlight("run", mlp_pte, "--input", "[[1,2,3,4]]", "--output", "e.npz", cwd=tmp_path)
    assert expected.code == 0
    given = np.load(tmp_path / "out.npz")["output_0"]
    assert given.shape == (1, 3)
    np.testing.assert_array_equal(given, np.load(tmp_path / "e.npz")["output_0"])


def test_random_values_follow_the_seed_and_the_shape(penlight: Penlight, mlp_pte: Path) -> None:
    first = penlight("run", mlp_pte, "--input", "random:5x4", "--seed", "1")
    again = penlight("run", mlp_pte, "--input", "random:5x4", "--seed", "1", "--threads", "2")
    other = penlight("run", mlp_pte, "--input", "random:5x4", "--seed", "2")
    assert first.code == again.code == other.code == 0
    assert first.out.splitlines()[0] == "output 0: float32 5x3"
    assert first.out == again.out != other.out
    numbers = first.out.split("\n", 1)[1]
    shape = np.array(ast.literal_eval(",".join(numbers.replace("[ ", "[").split()))).shape
    assert shape == (5, 3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--input", "1.0"], "expected 2 inputs for method 'forward' but got 1"),
        (["--input", "1.0", "--input", "pear"], "but got 'pear'"),
        (["--input", "1.0", "--input", "[1, 2]"], "shape 2"),
        (["--input", "1.0", "--input", "[[1], [2, 3]]"], "but got '[[1], [2, 3]]'"),
        (["--input", "1.0", "--input", "random:axb"], "the shape 'axb'"),
        (["--input", "1.0", "--input", "@absent.npy"], "absent.npy: no such file"),
        (["--method", "backward"], "'backward'"),
        (["--threads", "0"], "--threads"),
        (["--threads", "99999"], "99999"),
        (["--sideways"], "--sideways"),
    ],
)
def test_wrong_arguments_end_in_one_line(
    penlight: Penlight, add_pte: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    message = one_error_line(penlight("run", add_pte, *arguments, cwd=tmp_path))
    assert says in message


@pytest.mark.parametrize("content", [b"", b"no program at all", b"\x00" * 4096])
@pytest.mark.parametrize("verb", ["run", "inspect"])
def test_a_file_that_is_no_program_ends_in_one_line(
    penlight: Penlight, tmp_path: Path, verb: str, content: bytes
) -> None:
    (tmp_path / "bad.pte").write_bytes(content)
    one_error_line(penlight(verb, tmp_path / "bad.pte"))


@pytest.mark.parametrize("verb", ["run", "inspect"])
def test_a_missing_file_or_a_folder_ends_in_one_line(
    penlight: Penlight, tmp_path: Path, verb: str
) -> None:
    assert "absent.pte" in one_error_line(penlight(verb, tmp_path / "absent.pte"))
    one_error_line(penlight(verb, tmp_path))


def test_an_array_file_that_is_damaged_or_a_pickle_is_refused(
    penlight: Penlight, add_pte: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "short.npy").write_bytes(b"\x93NUMPY\x01\x00")
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("pickle.npy", "short.npy", "text.npz"):
        done = penlight("run", add_pte, "--input", "1", "--input", f"@{tmp_path / name}")
        assert name in one_error_line(done)


def run_into(stdout: int, add_pte: Path, unbuffered: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "penlight", "run", add_pte, "-i", "1", "-i", "2"],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        text=True,
        check=False,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_ends_in_one_line(penlight: Penlight, add_pte: Path, unbuffered: str) -> None:
    one_error_line(penlight("run", add_pte, "-i", "1", "-i", "2", "-o", "/dev/full/x.npz"))
    full = os.open("/dev/full", os.O_WRONLY)
    done = run_into(full, add_pte, unbuffered)
    os.close(full)
    assert done.returncode == 1
    assert "no space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_is_no_error_message(add_pte: Path, unbuffered: str) -> None:
    read, write = os.pipe()
    os.close(read)
    done = run_into(write, add_pte, unbuffered)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
