"""Lets every test here write `from harness import run_op`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
