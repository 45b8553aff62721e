"""``python -m penlight`` is the command line."""

from penlight.cli import main

main()
