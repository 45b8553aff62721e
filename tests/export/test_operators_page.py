"""The page of the operators is what the kernel table gives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_the_operators_is_up_to_date() -> None:
    code = "import generate_operators as g; print(g.operators_page(), end='')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=DOCS, capture_output=True, text=True, check=True
    )
    page = (DOCS / "operators.md").read_text()
    assert done.stdout == page, "run `make docs` and commit docs/operators.md"
