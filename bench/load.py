"""What opening a language model costs: time from process start, memory, the first answer.

    python bench/load.py MODEL.pte                 the C++ example `chat` and Python
    python bench/load.py MODEL.pte --json load.json

Every round is a process of its own, C++ and Python in turn, on a file that was read before; medians
are shown. Ready: the model takes tokens. Private: what no other process could share, mapped file
pages that only this process uses included. First text: from a line of text sent to the first text
back, which in Python includes reading the tokenizer. Peak RSS counts the pages of the file.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import penlight

ROOT = Path(__file__).parent.parent
TEXT = b"The quick brown fox jumps over the lazy dog. Once upon a time there was\n"
COLUMNS = {
    "ready": ("ready ms", 1e3),
    "private": ("private MB", 1e-6),
    "first": ("first text ms", 1e3),
    "anonymous": ("anonymous MB after", 1e-6),
    "peak": ("peak RSS MB", 1e-6),
}
PYTHON = """
import sys
import penlight
llm = penlight.LLM(sys.argv[1], threads=int(sys.argv[2]))
print("ready", file=sys.stderr, flush=True)
for line in sys.stdin:
    for piece in llm.stream_text(line, max_new_tokens=8, temperature=0, ignore_eos=True):
        print(piece, end="", flush=True)
    print(flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write the medians here, in seconds and bytes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runner = compiled(Path(folder))
        threads = str(options.threads)
        settings = ["--length", "8", "--temperature", "0", "--threads", threads]
        commands = {
            "C++": [str(runner), str(options.model), *settings],
            "Python": [sys.executable, "-c", PYTHON, str(options.model), threads],
        }
        read_through(options.model)
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, command in commands.items():
                rounds[name].append(measure(command))
    medians = {
        name: {key: statistics.median(each[key] for each in found) for key in COLUMNS}
        for name, found in rounds.items()
    }
    print(f"{options.model.name}: {options.model.stat().st_size / 1e6:.0f} MB, {threads} threads")
    print("| | " + " | ".join(title for title, _ in COLUMNS.values()) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for name, row in medians.items():
        cells = [f"{row[key] * scale:.1f}" for key, (_, scale) in COLUMNS.items()]
        print(f"| {name} | " + " | ".join(cells) + " |")
    if options.json:
        facts = {"file_bytes": options.model.stat().st_size, "threads": options.threads}
        options.json.write_text(json.dumps({**facts, **medians}, indent=2) + "\n")


def compiled(folder: Path) -> Path:
    """The example `chat`, linked with the package's library."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        sys.exit("[c++] expected a compiler but found none; install g++")
    library = penlight.library_path()
    flags = ["-O2", "-std=c++20", f"-I{ROOT}/runtime/include", f"-Wl,-rpath,{library.parent}"]
    source, runner = ROOT / "examples/cpp/chat.cpp", folder / "chat"
    subprocess.run([compiler, *flags, source, library, "-o", runner], check=True)
    return runner


def read_through(path: Path) -> None:
    """Bring a file into the page cache."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def measure(command: list[str]) -> dict[str, float]:
    """One process: seconds and bytes by the keys of COLUMNS."""
    begin = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdin and child.stdout and child.stderr
        line = child.stderr.readline()
        ready = time.perf_counter() - begin
        if not line.startswith(b"ready"):
            sys.exit((line + child.stderr.read()).decode())
        loaded = memory(child.pid)
        begin = time.perf_counter()
        child.stdin.write(TEXT)
        child.stdin.flush()
        child.stdout.read(1)
        first = time.perf_counter() - begin
        child.stdout.readline()  # the answer is over
        after = memory(child.pid)
        status = Path(f"/proc/{child.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert peak
        child.communicate()
    return {
        "ready": ready,
        "private": loaded["Private_Clean"] + loaded["Private_Dirty"],
        "first": first,
        "anonymous": after["Anonymous"],
        "peak": float(peak[1]) * 1024,
    }


def memory(process: int) -> dict[str, float]:
    """Bytes of each kind, as the kernel counts them."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    return {key: float(kb) * 1024 for key, kb in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}


if __name__ == "__main__":
    main()
