"""The command line as a whole: help, version, mistakes, and that it starts lightly."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from penlight.cli._app import run_command_line, verbs
from tests.cli.conftest import ROOT, Penlight, one_error_line


def test_every_public_module_is_a_verb_with_help_and_examples(penlight: Penlight) -> None:
    assert {"export", "inspect", "run"} <= set(verbs())
    listed = penlight("--help").out
    for verb in verbs():
        assert f" {verb} " in listed
        text = penlight(verb, "--help").out
        assert "Examples" in text
        assert f"penlight {verb} " in text


def test_the_page_of_the_command_line_is_up_to_date() -> None:
    code = "import generate_cli; print(generate_cli.cli_page(), end='')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "docs", capture_output=True, text=True, check=True
    )
    page = (ROOT / "docs" / "cli.md").read_text()
    assert done.stdout == page, "run `make docs` and commit docs/cli.md"


def test_version_is_that_of_the_build(penlight: Penlight) -> None:
    stated = re.search(r"project\(penlight VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())
    assert stated
    assert penlight("--version").out == f"penlight {stated[1]}\n"


def test_no_arguments_is_help_and_an_error(penlight: Penlight) -> None:
    done = penlight()
    assert done.code == 2
    assert "Commands" in done.out


def test_a_misspelled_verb_is_corrected(penlight: Penlight) -> None:
    assert "Did you mean 'inspect'" in one_error_line(penlight("inspekt", "x.pte"))


def test_only_the_verb_in_use_is_imported(add_pte: Path) -> None:
    code = (
        "import sys\n"
        "from penlight.cli._app import run_command_line\n"
        f"run_command_line(['run', {str(add_pte)!r}, '-i', '1', '-i', '2'])\n"
        "heavy = {'torch', 'tokenizers', 'jinja2', 'transformers', 'penlight.cli.export',\n"
        "         'penlight.cli._module', 'penlight.llm'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "3.0\n[]\n"


def test_a_reader_that_leaves_the_help_is_no_error() -> None:
    command = f"{sys.executable} -m penlight export --help | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_interrupting_is_one_line(tmp_path: Path) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text("import time\nprint('ready', flush=True)\ntime.sleep(60)\n")
    command = [sys.executable, "-m", "penlight", "export", f"{slow}:Net", "--input-shape", "1"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == "error: interrupted\n"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "out of memory"),
        (PermissionError(13, "Permission denied", "/x.pte"), "permission denied: /x.pte"),
        (OSError(28, "No space left on device", "/x.pte"), "free some space"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "penlight[export]"),
        (ZeroDivisionError("by zero"), "unexpected ZeroDivisionError: by zero"),
    ],
)
def test_whatever_happens_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    says: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("penlight.program.read.read_program", fail)
    assert run_command_line(["inspect", "x.pte"]) == 1
    printed = capsys.readouterr().err
    assert says in printed
    assert printed.count("\n") == 1
