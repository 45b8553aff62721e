"""``penlight export``: turn a model into a program. What the source is decides how."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penlight.errors import ExportError

EXAMPLES = [
    "penlight export model.py:Net -o net.pte --input-shape 1x3x224x224",
    "penlight export model.py:net -o net.pte   (with example_inputs() in model.py)",
    "penlight export text.py:Encoder -o encoder.pte --input-shape 1x128:int64 --dynamic 0.1=1..128",
    "penlight export model.py:Net -o net.pte --input-shape 8 --backend reference",
]


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py:NAME",
            help="A Python file, and in it a torch.nn.Module: its class (made without arguments), "
            "an instance, or a function that returns one.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="OUT.pte", help="The file to write; without it, NAME.pte."
        ),
    ] = None,
    input_shape: Annotated[
        list[str] | None,
        typer.Option(
            "--input-shape",
            metavar="SHAPE",
            help="The shape of one input, such as 1x3x224x224, or scalar; repeat it for each, in "
            "order. A dtype may follow: 1x128:int64. Without it the file's example_inputs() is "
            "called, which returns a tuple of tensors.",
        ),
    ] = None,
    dtype: Annotated[
        str,
        typer.Option("--dtype", metavar="DTYPE", help="The dtype of inputs that name none."),
    ] = "float32",
    dynamic: Annotated[
        list[str] | None,
        typer.Option(
            "--dynamic",
            metavar="INPUT.DIM=MIN..MAX",
            help="Let one dimension vary when the program runs: INPUT is a parameter's name or "
            "its number from 0, DIM counts from 0. Repeat it for more.",
        ),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend",
            metavar="NAME",
            help="Let this backend take the parts of the graph that it can; repeat it to offer "
            "the rest to another one.",
        ),
    ] = None,
) -> None:
    """Export a PyTorch model to one .pte file that runs without torch.

    The model is captured by torch.export in evaluation mode, optimised, and checked: an operator
    without a kernel is an error that names it and the line that used it.
    """
    file, _, name = source.rpartition(":")
    if not file.endswith(".py"):
        raise ExportError(
            f"[export] expected FILE.py:NAME but got {source!r}; "
            "write the file, a colon and the name of the model in it"
        )
    from penlight.cli._module import ModuleExport

    ModuleExport(
        file=Path(file),
        name=name,
        output=output or Path(f"{name}.pte"),
        shapes=input_shape or [],
        dtype=dtype,
        dynamic=dynamic or [],
        backends=backend or [],
    ).run()
