"""The command line: ``penlight VERB ...``. One file per verb, and the file's name is the verb.

A new verb is a module here with a function of the module's name, whose parameters and docstring
are its arguments and help, and `EXAMPLES`, the lines shown under the help. Modules whose names
start with an underscore are helpers. Verbs are imported when they are used, so keep heavy imports
(torch above all) inside functions.
"""

from __future__ import annotations

import gc
import io
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line on ``sys.argv`` and exit with its code."""
    from penlight.cli._app import run_command_line

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what the terminal's encoding lacks
    code = run_command_line(sys.argv[1:])
    gc.freeze()  # or the interpreter looks for cycles among all that torch and a graph have left
    sys.exit(code)
