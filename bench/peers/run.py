"""Penlight beside the other engines for CPUs: install them, make the models, measure, write a page.

    make bench-peers                                 everything, docs/benchmarks.md at the end
    make bench-peers ARGS="--rounds 5 --only penlight,llamacpp --models smollm2"
    make bench-peers ARGS="--skip-export executorch" do not make its files if they are missing
    make bench-peers ARGS="--export-again penlight"  time these exports once more
    make bench-peers ARGS="--rounds 0"               only write the page again

Environments and models are made once and kept, in build/peers or the folder that PENLIGHT_PEERS
names (25 GB with everything, of which most is torch); run again, it only measures again. The first
time takes one to three hours, and up to 10 GB of memory. Names may be those of engines or the
beginnings of contenders': `--list` shows them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import checkpoints
import page
from contenders import BOTH, CONTENDERS, MODELS, Command, Contender, checkpoint, meta_checkpoint
from environments import ENVIRONMENTS, install
from figures import gist, latest
from lab import HERE, LAB, ROOT, Ran, Records, last_lines, run, say, wait_for_quiet
from load import compile_command
from own import CHAT, OWN

ROUNDS = LAB / "rounds.jsonl"
PAGE = ROOT / "docs" / "benchmarks.md"
LIMIT_S = 300  # of one measurement
DEPTH_ROUNDS = 1  # rounds that go to position 4,000 too, at two repeats and minutes each


@dataclass(frozen=True)
class Job:
    """One run that measures. name: of a contender, or of own.py's."""

    name: str
    model: str
    threads: int
    depth: bool
    command: Command
    isolated: bool  # in an environment that is not ours


def main() -> None:
    """All stages; each keeps what it has made."""
    options = parse()
    if options.list:
        for contender in CONTENDERS:
            print(f"{contender.name:20} {contender.title} ({', '.join(contender.models)})")
        return
    (LAB / "models").mkdir(parents=True, exist_ok=True)
    records = Records()
    record_tools(records, measuring=options.rounds > 0)
    chosen = [c for c in CONTENDERS if matches(c, options.only)]
    installed = {
        name: install(environment, records)
        for name, environment in ENVIRONMENTS.items()
        if any(c.engine == name for c in chosen)
    }
    usable = [c for c in chosen if installed.get(c.engine, True)]
    for model in options.models:
        make_checkpoints(model)
        for contender in usable:
            if model in contender.models:
                make_file(contender, model, options, records)
    if options.rounds:
        make_chat(records)
        measure(usable, options, records)
    rounds = latest(ROUNDS.read_text().splitlines()) if ROUNDS.exists() else []
    others = sorted(set(options.page.parent.glob(f"{PAGE.stem}*.md")) - {options.page})
    options.page.write_text(page.write(records.values, rounds, others), encoding="utf-8")
    say(f"wrote {options.page}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def names(flag: str, help: str, default: tuple[str, ...] = ()) -> None:
        parser.add_argument(
            flag,
            type=lambda text: tuple(text.split(",")),
            metavar="NAME,...",
            default=default,
            help=help,
        )

    names("--only", "contenders to take part")
    names("--models", " or ".join(BOTH), BOTH)
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--append", action="store_true", help="add rounds to the last ones")
    parser.add_argument("--skip-depth", action="store_true", help="not at position 4,000")
    names("--skip-export", "make no file of these")
    names("--export-again", "make files of these again")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="OUT.md", help="what to write")
    parser.add_argument("--list", action="store_true", help="show the contenders and exit")
    options = parser.parse_args()
    if unknown := set(options.models) - set(MODELS):
        parser.error(f"expected models among {', '.join(MODELS)} but got {', '.join(unknown)}")
    for name in (*options.only, *options.skip_export, *options.export_again):
        if not any(c.name.startswith(name) for c in CONTENDERS):
            parser.error(f"expected the beginning of a contender's name but got {name}")
    return options


def matches(contender: Contender, names: Sequence[str]) -> bool:
    """Whether it is meant by one of the names; all are by none."""
    return not names or any(contender.name.startswith(name) for name in names)


def record_tools(records: Records, measuring: bool) -> None:
    """The machine, the version of ours that is measured, and the compiler and probe used beside."""
    probe = LAB / "probe"
    compiler = shutil.which(os.environ.get("CXX", "c++")) or "c++"
    source = HERE / "probe.cpp"
    if not probe.exists() or probe.stat().st_mtime < source.stat().st_mtime:
        flags = ["-std=c++20", "-O3", "-march=native", "-pthread"]
        done = run("probe", [compiler, *flags, source, "-o", probe])
        if done.code:
            say(f"no probe of the machine: {last_lines(done.output)}")
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    git = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    known = records.get("machine").get("commit")
    record = page.machine() | {
        "compiler": said.stdout.partition("\n")[0],
        "commit": git.stdout.strip() if measuring or not known else known,
        "python": sys.version.split()[0],
        "shipped_mb": size_mb(checkpoints.gguf_file()),
    }
    records.put("machine", record)


def make_chat(records: Records) -> None:
    """The C++ example, or the reason why it is not measured."""
    CHAT.unlink(missing_ok=True)
    try:
        command = compile_command(CHAT)
    except SystemExit as missing:
        records.put("chat", {"error": str(missing)})
        return
    done = run("chat", command)
    record: dict[str, Any] = {"command": shown([command])}
    if done.code:
        record["error"] = last_lines(done.output) or f"exit status {done.code}"
    records.put("chat", record)


def make_checkpoints(model: str) -> None:
    """What the exporters read, unless it is there."""
    whole = checkpoint(model)
    done = whole / "complete"
    if not done.exists():
        say(f"making the checkpoint {whole.name}")
        if model == "smollm2":
            apart(checkpoints.make_smollm2, whole)
        else:
            make_checkpoints("smollm2")  # the tokenizer is padded from its
            apart(checkpoints.make_llama1b, whole, checkpoint("smollm2"))
        done.touch()
    meta = meta_checkpoint(model)
    if not (meta / "complete").exists():
        say(f"making the checkpoint {meta.name}")
        apart(checkpoints.make_meta, whole, meta)
        (meta / "complete").touch()


def apart(function: Callable[..., None], *arguments: Path) -> None:
    """In a process of its own: the system counts the memory of this one as the peak of those it
    starts."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"[bench] expected {function.__name__} to end well; see its message above")


def make_file(
    contender: Contender, model: str, options: argparse.Namespace, records: Records
) -> None:
    """Exports one model for one engine, unless its file is there, and records what it took."""
    key = f"export {contender.name} {model}"
    commands = contender.export(model)
    again = bool(options.export_again) and matches(contender, options.export_again)
    known = records.get(key)
    made = "size_mb" in known and known["command"] == shown(commands)
    if not commands or (made and contender.file(model).exists() and not again):
        return
    if options.skip_export and matches(contender, options.skip_export):
        say(f"not exporting {model} for {contender.name}")
        return
    say(f"exporting {model} for {contender.name}")
    remove(contender.file(model))
    read_once(model)
    wait_for_quiet()
    steps = []
    for number, command in enumerate(commands):
        name = f"export-{contender.name}-{model}-{number}"
        steps.append(run(name, command, isolated=not contender.ours))
        if steps[-1].code:
            break
    record = exported(contender, model, commands, steps)
    if contender.ours and "error" not in record:
        record["torch_mb"] = import_torch_mb()
        record["weights_mb"] = weights_mb(contender.file(model))
    records.put(key, record)
    result = record.get("error") or f"{record['wall_s']:.1f} s, {record['peak_mb']:.0f} MB"
    say(f"{contender.name} {model}: {result}")


def exported(
    contender: Contender, model: str, commands: list[Command], steps: list[Ran]
) -> dict[str, Any]:
    """What the steps of an export took together."""
    wall = sum(step.wall_s for step in steps)
    record: dict[str, Any] = {
        "command": shown(commands),
        "when": time.strftime("%Y-%m-%d %H:%M"),
        "wall_s": wall,
        "cpu_s": sum(step.user_s + step.system_s for step in steps),
        "peak_mb": max(step.peak_mb for step in steps),
        "others": sum(step.others * step.wall_s for step in steps) / wall,
    }
    file = contender.file(model)
    if steps[-1].code or not file.exists():
        record["error"] = last_lines(steps[-1].output) or f"exit status {steps[-1].code}"
    else:
        record["size_mb"] = size_mb(file)
    return record


def import_torch_mb() -> float:
    """Peak memory of a process of ours that only imports torch."""
    return run("import-torch", [sys.executable, "-c", "import torch"]).peak_mb


def weights_mb(file: Path) -> float:
    """The constants of a program of ours: what a token reads, but for one row of the embedding."""
    from penlight.program.read import read_program

    with read_program(file) as found:
        constants = found.program.constant_segment
        return found.program.segments[constants.segment_index].size / 1e6 if constants else 0.0


def shown(commands: list[Command]) -> list[str]:
    """Commands as the page prints them."""
    return [page.spell_command(command) for command in commands]


def size_mb(path: Path) -> float:
    """Of a file, or of all that lies in a folder."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def remove(path: Path) -> None:
    """A file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def read_once(model: str) -> None:
    """Brings the checkpoints into the page cache, so that no exporter waits for the disk."""
    for folder in (checkpoint(model), meta_checkpoint(model)):
        for file in folder.iterdir():
            with file.open("rb") as stream:
                while stream.read(1 << 24):
                    pass


def measure(chosen: Sequence[Contender], options: argparse.Namespace, records: Records) -> None:
    """All contenders in turn, round after round; every run is kept as a line of ROUNDS."""
    old = latest(ROUNDS.read_text().splitlines()) if ROUNDS.exists() else []
    resumed = options.append and bool(old)
    session = old[-1]["session"] if resumed else time.strftime("%Y-%m-%dT%H:%M:%S")
    first = 1 + max((line["round"] for line in old), default=0) if resumed else 1
    for number in range(first, first + options.rounds):
        for threads in options.threads:
            probe(session, number, threads)
        jobs = plan(chosen, options, number, records)
        for job in chain(jobs, own_jobs(chosen, options, records)):
            line = {
                "session": session,
                "round": number,
                "contender": job.name,
                "model": job.model,
                "threads": job.threads,
                "depth": job.depth,
            }
            line |= attempt(job)
            append(line)
            name = f"{job.name} {job.model} {job.threads} threads"
            say(f"round {number}: {name}{' depth' if job.depth else ''}: {gist(line)}")


def plan(
    chosen: Sequence[Contender], options: argparse.Namespace, number: int, records: Records
) -> Iterator[Job]:
    """The runs of one round: contenders follow each other with the same model and threads."""
    for depth in (False, True):
        if depth and (options.skip_depth or number > DEPTH_ROUNDS):
            return
        for model in options.models:
            if depth and model != "smollm2":
                continue
            for threads in options.threads:
                for contender in chosen:
                    if model not in contender.models or (depth and not contender.depth):
                        continue
                    if has_file(contender, model, records):
                        command = contender.drive(model, threads, depth)
                        isolated = not contender.ours
                        yield Job(contender.name, model, threads, depth, command, isolated)


def own_jobs(
    chosen: Sequence[Contender], options: argparse.Namespace, records: Records
) -> Iterator[Job]:
    """What only ours is measured at, with the models and threads that were asked for."""
    for own in OWN:
        wanted = own.contender in chosen and own.model in options.models
        if not wanted or own.threads not in options.threads:
            continue
        possible = CHAT.exists() or str(CHAT) not in own.flags
        if possible and has_file(own.contender, own.model, records):
            yield Job(own.name, own.model, own.threads, False, own.command(), False)


def has_file(contender: Contender, model: str, records: Records) -> bool:
    """Whether there is one, and its exporter did not fail the last time."""
    owner = contender.file_of or contender.name
    failed = "error" in records.get(f"export {owner} {model}")
    return not failed and contender.file(model).exists()


def attempt(job: Job) -> dict[str, Any]:
    """One run of a program that measures, again if others disturbed it."""
    for _ in range(2):
        wait_for_quiet()
        before = probe_machine(job.threads)
        name = f"measure-{job.name}-{job.model}"
        done = run(name, job.command, limit_s=LIMIT_S, isolated=job.isolated)
        after = probe_machine(job.threads)
        if done.code or not done.noisy:
            break
    measures = [json.loads(each) for each in done.output.splitlines() if each.startswith('{"mea')]
    line = {"command": page.spell_command(job.command), "measures": measures} | done.cost()
    line["read_gbs"] = [found["read_gbs"] for found in (before, after) if found]
    return line | {"error": last_lines(done.output) or "no output"} if done.code else line


def probe(session: str, number: int, threads: int) -> None:
    """What the machine reads and multiplies a second, right before a round."""
    wait_for_quiet()
    if found := probe_machine(threads):
        append({"session": session, "round": number, "contender": "machine", **found})
        say(f"round {number}: {found}")


def probe_machine(threads: int) -> dict[str, Any]:
    """The probe's figures at this moment; none if it could not be built or run."""
    if not (LAB / "probe").exists():
        return {}
    done = run("probe-run", [LAB / "probe", str(threads)], limit_s=60)
    return dict(json.loads(done.output)) if done.code == 0 else {}


def append(line: dict[str, Any]) -> None:
    """One more measurement."""
    with ROUNDS.open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
