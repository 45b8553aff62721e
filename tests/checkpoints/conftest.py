"""As tests/models/conftest.py, for the writers here too."""

import sys
from pathlib import Path

import penlight.edge.ops  # noqa: F401

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "models")]
