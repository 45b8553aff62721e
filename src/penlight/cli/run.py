"""``penlight run``: execute a method of a program."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Any

import typer

from penlight.cli._options import Threads
from penlight.errors import RuntimeFailure

EXAMPLES = [
    "penlight run add.pte --input 1.0 --input 2.0",
    "penlight run model.pte --input @photo.npy --output scores.npz",
    "penlight run model.pte --input random: --seed 7 --threads 2",
    'penlight run model.pte --method encode --input "[[1, 2, 3]]"',
]

Program = Annotated[Path, typer.Argument(metavar="FILE.pte", help="The program to run.")]
Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="VALUE",
        help="One input; repeat it for each, in order. A number (1.0), a list (\\[1, 2]), "
        "a file (@x.npy, @x.npz:name), or random:, zeros:, ones: for the declared shape; a "
        "shape may follow (random:1x8).",
    ),
]
Method = Annotated[str, typer.Option("--method", "-m", metavar="NAME", help="Which method to run.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT.npz",
        help="Write the outputs here as output_0, output_1, ... instead of printing them "
        "(numpy.load reads it).",
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="For random:.")]


def run(
    program: Program,
    input_: Input = None,
    method: Method = "forward",
    threads: Threads = None,
    output: Output = None,
    seed: Seed = 0,
) -> None:
    """Run a .pte program and print what it gives. Needs no torch.

    Inputs are checked against what the method declares; [bold]penlight inspect[/bold] shows that.
    """
    import numpy as np

    from penlight.cli._values import parse_value, readable
    from penlight.runtime import load

    loaded = load(program, threads=threads).method(method)
    wanted = loaded.inputs
    texts = input_ or []
    if len(texts) != len(wanted):
        declared = "; ".join(f"{info.name}: {info.describe()}" for info in wanted) or "none"
        raise RuntimeFailure(
            f"[run] expected {len(wanted)} inputs for method {method!r} but got {len(texts)}; "
            f"give each with --input ({declared})"
        )
    generator = np.random.default_rng(seed)
    values = [parse_value(t, w, generator) for t, w in zip(texts, wanted, strict=True)]
    results = [
        readable(result, info.dtype) if isinstance(result, np.ndarray) else result
        for result, info in zip(loaded.execute(values), loaded.outputs, strict=True)
    ]
    if output is not None:
        _save(output, results)
    else:
        _show(results)


def _save(path: Path, results: list[Any]) -> None:
    """Write an archive of all outputs."""
    import numpy as np

    from penlight.cli._terminal import write_whole

    arrays: dict[str, np.ndarray[Any, Any]] = {
        f"output_{i}": np.asarray(result) for i, result in enumerate(results)
    }
    archive = io.BytesIO()
    np.savez(archive, allow_pickle=False, **arrays)
    write_whole(path, archive.getvalue())


def _show(results: list[Any]) -> None:
    """One line for a single value, else a heading and the (shortened) array."""
    import numpy as np

    from penlight.cli._terminal import output, spell_shape

    console = output()
    for index, result in enumerate(results):
        if not isinstance(result, np.ndarray) or result.size == 1:
            text = str(result.item() if isinstance(result, np.ndarray) else result)
        else:
            heading = f"output {index}: {result.dtype.name} {spell_shape(result.shape)}"
            console.print(heading, style="dim", markup=False)
            text = np.array2string(result, precision=6, threshold=200, edgeitems=4)
        console.print(text, markup=False, soft_wrap=True)
