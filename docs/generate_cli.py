"""Write docs/cli.md from the help of every verb: `make docs`. A test holds it up to date."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from penlight.cli._app import verbs

PAGE = Path(__file__).parent / "cli.md"
HEAD = """# The command line

Made from the commands' own help by `make docs`; do not edit.
"""


def help_text(*arguments: str) -> str:
    """What `penlight ... --help` prints at 100 columns, without colour."""
    environment = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"}
    for name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "penlight", *arguments, "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    lines = [line.rstrip() for line in text.stdout.strip("\n").splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def cli_page() -> str:
    """The whole page."""
    parts = [HEAD, "```text\n" + help_text() + "\n```\n"]
    for verb in verbs():
        parts.append(f"## penlight {verb}\n\n```text\n{help_text(verb)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(cli_page())
