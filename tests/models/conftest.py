"""Registers the ``penlight::`` operators, and lets tests write `from references import ...`."""

import sys
from pathlib import Path

import penlight.edge.ops  # noqa: F401

sys.path.append(str(Path(__file__).parent))
