"""What opening a language model costs: time from process start, memory, the first answer.

    python bench/load.py MODEL.pte                 the C++ example `chat` and Python
    python bench/load.py MODEL.pte --chat build/chat --json       only C++, built before

Every round is a process of its own, C++ and Python in turn, on a file that was read before; medians
are shown, and a first round does not count. Ready: the model takes tokens. Private: what no other
process could share, mapped file pages that only this process uses included. First text: from a line
of text sent to the first text back, which in Python includes reading the tokenizer. Peak RSS counts
the pages of the file.
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

ROOT = Path(__file__).resolve().parent.parent
TEXT = b"The quick brown fox jumps over the lazy dog. Once upon a time there was\n"
COLUMNS = {
    "ready_s": ("ready ms", 1e3),
    "private_mb": ("private MB", 1),
    "first_s": ("first text ms", 1e3),
    "anonymous_mb": ("anonymous MB after", 1),
    "peak_mb": ("peak RSS MB", 1),
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
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--chat", type=Path, help="the example, built before: measure only it")
    parser.add_argument("--json", action="store_true", help="lines of JSON in place of the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runner = options.chat or Path(folder) / "chat"
        if not options.chat:
            subprocess.run(compile_command(runner), check=True)
        threads = str(options.threads)
        settings = ["--length", "8", "--temperature", "0", "--threads", threads]
        commands = {
            "C++": [str(runner), str(options.model), *settings],
        }
        if not options.chat:
            commands["Python"] = [sys.executable, "-c", PYTHON, str(options.model), threads]
        read_through(options.model)
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
        for number in range(1 + options.rounds):
            for name, command in commands.items():
                found = measure(command)
                rounds[name] += [found] if number else []
    medians = {
        name: {key: statistics.median(each[key] for each in every) for key in COLUMNS}
        for name, every in rounds.items()
    }
    if options.json:
        for name, row in medians.items():
            print(json.dumps({"measure": name, **row}))
        return
    print(f"{options.model.name}: {options.model.stat().st_size / 1e6:.0f} MB, {threads} threads")
    print("| | " + " | ".join(title for title, _ in COLUMNS.values()) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for name, row in medians.items():
        cells = [f"{row[key] * scale:.1f}" for key, (_, scale) in COLUMNS.items()]
        print(f"| {name} | " + " | ".join(cells) + " |")


def compile_command(runner: Path) -> list[str]:
    """What makes the example `chat`, linked with the package's library."""
    compiler = next(filter(shutil.which, (os.environ.get("CXX", "c++"), "g++")), None)
    if compiler is None:
        sys.exit("[c++] expected a compiler but found none; install g++")
    library = penlight.library_path()
    flags = ["-O2", "-std=c++20", f"-I{ROOT}/runtime/include", f"-Wl,-rpath,{library.parent}"]
    return [compiler, *flags, f"{ROOT}/examples/cpp/chat.cpp", str(library), "-o", str(runner)]


def read_through(path: Path) -> None:
    """Bring a file into the page cache."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def measure(command: list[str]) -> dict[str, float]:
    """One process: seconds and MB by the keys of COLUMNS."""
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
        "ready_s": ready,
        "private_mb": loaded["Private_Clean"] + loaded["Private_Dirty"],
        "first_s": first,
        "anonymous_mb": after["Anonymous"],
        "peak_mb": float(peak[1]) * 1024 / 1e6,
    }


def memory(process: int) -> dict[str, float]:
    """MB of each kind, as the kernel counts them."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    return {
        key: float(kb) * 1024 / 1e6 for key, kb in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)
    }


if __name__ == "__main__":
    main()
