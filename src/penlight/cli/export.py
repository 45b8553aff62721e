"""``penlight export``: turn a model into a program. What the source is decides how."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from penlight.errors import ExportError

EXAMPLES = [
    "penlight export SmolLM2-135M-Instruct.Q4_1.gguf -o smollm2.pte",
    "penlight export Llama-3.2-1B-Instruct/ --quant q4 --context 8192",
    "penlight export HuggingFaceTB/SmolLM2-135M-Instruct",
    "penlight export model.py:Net -o net.pte --input-shape 1x3x224x224",
    "penlight export model.py:net -o net.pte   (with example_inputs() in model.py)",
    "penlight export text.py:Encoder -o encoder.pte --input-shape 1x128:int64 --dynamic 0.1=1..128",
    "penlight export model.py:Net -o net.pte --input-shape 8 --backend reference",
]

_CHECKPOINTS = "Checkpoints"
_MODULES = "Modules"

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A language model's checkpoint: a .gguf file, a Hugging Face or Meta folder, or "
        "a hub id. Or FILE.py:NAME, a Python file and in it a torch.nn.Module: its class (made "
        "without arguments), an instance, or a function that returns one.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT.pte",
        help="The file to write; without it, NAME.pte after the source.",
    ),
]
Quant = Annotated[
    str | None,
    typer.Option(
        "--quant",
        "-q",
        metavar="keep|q4|q6|q8|bf16|f32",
        help="How weights are stored. keep: as the checkpoint has them, which is the rule for "
        "quantised ones; q4: 4 bits in groups of 32, the rule for the others.",
        rich_help_panel=_CHECKPOINTS,
    ),
]
EmbeddingQuant = Annotated[
    str | None,
    typer.Option(
        "--embedding-quant",
        metavar="keep|q4|q6|q8|bf16|f32",
        help="The same for embedding and output head; without it they are q8 where the rest "
        "is q4, and as the rest otherwise.",
        rich_help_panel=_CHECKPOINTS,
    ),
]
Context = Annotated[
    int | None,
    typer.Option(
        "--context",
        "-c",
        min=2,
        metavar="N",
        help="The longest conversation, in tokens; without it, the model's own maximum. Memory "
        "is taken only as far as it is used.",
        rich_help_panel=_CHECKPOINTS,
    ),
]
Cache = Annotated[
    str | None,
    typer.Option(
        "--cache",
        metavar="float16|float32|int8",
        help="How keys and values are stored while the model runs; without it, float16. int8 takes "
        "half of its memory, and is faster far into a conversation.",
        rich_help_panel=_CHECKPOINTS,
    ),
]
InputShape = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape",
        metavar="SHAPE",
        help="The shape of one input, such as 1x3x224x224, or scalar; repeat it for each, in "
        "order. A dtype may follow: 1x128:int64. Without it the file's example_inputs() is "
        "called, which returns a tuple of tensors.",
        rich_help_panel=_MODULES,
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="DTYPE",
        help="The dtype of inputs that name none; without it, float32.",
        rich_help_panel=_MODULES,
    ),
]
Dynamic = Annotated[
    list[str] | None,
    typer.Option(
        "--dynamic",
        metavar="INPUT.DIM=MIN..MAX",
        help="Let one dimension vary when the program runs: INPUT is a parameter's name or "
        "its number from 0, DIM counts from 0. Repeat it for more.",
        rich_help_panel=_MODULES,
    ),
]
Backend = Annotated[
    list[str] | None,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="Let this backend take the parts of the graph that it can; repeat it to offer "
        "the rest to another one.",
        rich_help_panel=_MODULES,
    ),
]


def export(
    source: Source,
    output: Output = None,
    quant: Quant = None,
    embedding_quant: EmbeddingQuant = None,
    context: Context = None,
    cache: Cache = None,
    input_shape: InputShape = None,
    dtype: Dtype = None,
    dynamic: Dynamic = None,
    backend: Backend = None,
) -> None:
    """Export a model to one .pte file that runs without torch.

    A checkpoint becomes a file that chats: its weights are read, quantised and written one at a
    time. A module is captured by torch.export in evaluation mode, optimised, and checked: an
    operator without a kernel is an error that names it and the line that used it.
    """
    of_checkpoints = {
        "quant": quant,
        "embedding_quant": embedding_quant,
        "context": context,
        "cache": cache,
    }
    of_modules = {
        "input_shape": input_shape,
        "dtype": dtype,
        "dynamic": dynamic,
        "backend": backend,
    }
    file, _, name = source.rpartition(":")
    if file.endswith(".py"):
        _refuse(of_checkpoints, "a checkpoint", "a Python module")
        _export_module(Path(file), name, output, of_modules)
    elif source.endswith(".py"):
        raise ExportError(
            f"[export] expected FILE.py:NAME but got {source!r}; "
            "write the file, a colon and the name of the model in it"
        )
    else:
        _refuse(of_modules, "a Python module", "a checkpoint")
        _export_checkpoint(source, output, of_checkpoints)


def _export_module(file: Path, name: str, output: Path | None, options: dict[str, Any]) -> None:
    from penlight.cli._module import ModuleExport

    ModuleExport(
        file=file,
        name=name,
        output=output or Path(f"{name}.pte"),
        shapes=options["input_shape"] or [],
        dtype=options["dtype"] or "float32",
        dynamic=options["dynamic"] or [],
        backends=options["backend"] or [],
    ).run()


def _export_checkpoint(source: str, output: Path | None, options: dict[str, Any]) -> None:
    from penlight.cli._llm import default_output, export_checkpoint, print_summary

    began = time.perf_counter()
    made = export_checkpoint(source, output or default_output(source), **options)
    print_summary(made, began)


def _refuse(options: Mapping[str, object], owner: str, source: str) -> None:
    """Raises ExportError if an option was given that says nothing about this kind of source."""
    given = ["--" + name.replace("_", "-") for name, value in options.items() if value]
    if given:
        verb, them = ("is", "it") if len(given) == 1 else ("are", "them")
        raise ExportError(
            f"[export] expected options for {source} but got {', '.join(given)}, which {verb} for "
            f"{owner}; leave {them} out"
        )
