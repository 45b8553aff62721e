"""The command group that finds verbs by file name, and the boundary where errors become one line.

Exit codes: 0 fine, 1 an error, 2 wrong usage, 130 interrupted, 141 nobody reads the output.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

import penlight.cli
from penlight.cli._terminal import describe, print_error
from penlight.errors import PenlightError

SUMMARY = "Export PyTorch models to one .pte file, and run them on the device."
EPILOG = (
    "Every command has examples under [bold]penlight COMMAND --help[/bold]. "
    "Set PENLIGHT_TRACEBACK=1 to see the full traceback of an error."
)


def verbs() -> list[str]:
    """All verbs, alphabetically: the names of the public modules of this package."""
    return sorted(m.name for m in pkgutil.iter_modules(penlight.cli.__path__) if m.name[0] != "_")


def load_verb(verb: str) -> Any:
    """The typer command made of the function `verb` in the module `verb`."""
    module = importlib.import_module(f"penlight.cli.{verb}")
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    lines = [f"  {line}" for line in module.EXAMPLES]
    # A blank line between them keeps each example on its own line.
    app.command(name=verb, epilog="\n\n".join(["[bold]Examples[/bold]", *lines]))(
        getattr(module, verb)
    )
    return typer.main.get_command(app)


class LazyGroup(TyperGroup):
    """Imports a verb's module when it is asked for, and all of them only for --help."""

    def list_commands(self, ctx: Any) -> list[str]:
        return verbs()

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.commands and cmd_name in verbs():
            self.commands[cmd_name] = load_verb(cmd_name)
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None:
            self.commands.update({verb: load_verb(verb) for verb in verbs()})  # "Did you mean"
        return super().resolve_command(ctx, args)


def build() -> Any:
    """The whole command line as one command."""
    app = typer.Typer(
        cls=LazyGroup,
        add_completion=False,
        rich_markup_mode="rich",
        no_args_is_help=True,
        epilog=EPILOG,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(help=SUMMARY)
    def penlight_options(
        version: bool = typer.Option(
            False, "--version", help="Print the version and exit.", is_eager=True, callback=_version
        ),
    ) -> None:
        del version

    return typer.main.get_command(app)


def _version(asked: bool) -> None:
    if asked:
        import penlight

        print(f"penlight {penlight.__version__}")
        raise typer.Exit


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code. Every failure is one line on standard error."""
    try:
        command = build()
        with command.make_context("penlight", list(arguments)) as context:
            command.invoke(context)
        sys.stdout.flush()
        return 0
    except BaseException as error:
        if os.environ.get("PENLIGHT_TRACEBACK") == "1":
            raise
        code = _report(error, next((a for a in arguments if not a.startswith("-")), "penlight"))
        _let_output_go()
        return code


def _let_output_go() -> None:
    """Write what is still buffered now or never, so that the interpreter's last flush succeeds."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: BaseException, verb: str) -> int:
    """Print what went wrong as one line; returns the exit code."""
    match error:
        case typer.Exit():
            return error.exit_code
        case KeyboardInterrupt() | typer.Abort():
            print_error("interrupted")
            return 130
        case BrokenPipeError():
            return 141
        case SystemExit() if isinstance(error.__context__, BrokenPipeError):
            return 141  # how rich, which prints the help, takes leave of a reader that has gone
        case typer.TyperException():
            return _usage(error, verb)
        case PenlightError():
            print_error(str(error))
        case OSError():
            print_error(f"[{verb}] {describe(error)}")
        case MemoryError():
            print_error(f"[{verb}] out of memory; close other programs or use a smaller model")
        case ModuleNotFoundError(name=str(name)) if name.split(".")[0] != "penlight":
            print_error(
                f"[{verb}] the Python package {name} is not installed; "
                "install what export needs with: pip install 'penlight[export]'"
            )
        case _:
            print_error(
                f"[{verb}] unexpected {type(error).__name__}: {error}; "
                "set PENLIGHT_TRACEBACK=1 to see where, and please report it"
            )
    return 1


def _usage(error: typer.TyperException, verb: str) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
    else:
        command = f"penlight {verb}" if verb in verbs() else "penlight"
        message = " ".join(error.format_message().split()).rstrip(".")
        print_error(f"[{verb}] {message}; see {command} --help")
    return 2
