"""The folder in which everything that is made is kept, and how a process is run and accounted for.

LAB/environments/NAME   one Python environment for each peer
LAB/checkpoints         what every engine is given
LAB/models              what each exporter made of it
LAB/records.json        what installing and exporting took
LAB/rounds.jsonl        every measurement, one run of a driver a line
LAB/logs                the output of every process
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from protocol import STARTED

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
LAB = Path(os.environ.get("PENLIGHT_PEERS") or ROOT / "build" / "peers").resolve()
NOISE = 0.1  # cores that others may use while a process is measured
_OURS = ("PYTHONPATH", "VIRTUAL_ENV", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Ran:
    """One process and what it took. others: cores that other processes used meanwhile."""

    code: int
    wall_s: float
    user_s: float
    system_s: float
    peak_mb: float
    others: float
    output: str

    @property
    def noisy(self) -> bool:
        return self.others > NOISE

    def cost(self) -> dict[str, Any]:
        """All but the output."""
        values = asdict(self)
        values.pop("output")
        return values | {"noisy": self.noisy}


def say(text: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def busy_seconds() -> float:
    """CPU seconds that the whole machine has spent since it started."""
    fields = [int(v) for v in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _wait, irq, soft, steal = fields
    return (user + nice + system + irq + soft + steal) / _TICK


def wait_for_quiet(most: float = 30.0) -> None:
    """Returns when others use hardly any of the machine, or after `most` seconds."""
    begin = time.monotonic()
    while time.monotonic() - begin < most:
        before, then = busy_seconds(), time.monotonic()
        time.sleep(0.3)
        if (busy_seconds() - before) / (time.monotonic() - then) < NOISE:
            return


def run(
    name: str,
    command: Sequence[str | Path],
    *,
    limit_s: float = 3600,
    environment: Mapping[str, str] | None = None,
    isolated: bool = False,
) -> Ran:
    """Runs a process to its end. Its output goes to LAB/logs/NAME.log and comes back.

    isolated: without what would lead another Python to packages of ours, or limit its threads.
    peak_mb is that of the process or the largest of its children.
    """
    log = LAB / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in command]
    with log.open("w") as file:
        file.write("$ " + " ".join(words) + "\n")
        file.flush()
        skip = file.tell()
        before, begin = busy_seconds(), time.monotonic()
        environ = {**os.environ, **(environment or {})}
        for name in _OURS if isolated else ():
            environ.pop(name, None)
        environ[STARTED] = repr(time.monotonic())
        process = subprocess.Popen(
            words, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=environ, cwd=LAB, start_new_session=True,
        )  # fmt: skip
        code, usage = _wait(process, begin + limit_s)
        wall = time.monotonic() - begin
        others = busy_seconds() - before - usage.ru_utime - usage.ru_stime
    output = log.read_bytes()[skip:].decode(errors="replace")
    return Ran(
        code=code,
        wall_s=wall,
        user_s=usage.ru_utime,
        system_s=usage.ru_stime,
        peak_mb=usage.ru_maxrss * 1024 / 1e6,
        others=max(0.0, others / wall),
        output=output,
    )


def _wait(process: subprocess.Popen[bytes], until: float) -> tuple[int, Any]:
    """The exit status and resource usage; a process that takes too long is ended."""
    try:
        while True:
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            if done:
                process.returncode = os.waitstatus_to_exitcode(status)
                return process.returncode, usage
            if time.monotonic() > until:
                os.killpg(process.pid, 9)
            time.sleep(0.005)
    except KeyboardInterrupt:
        os.killpg(process.pid, 15)
        sys.exit(130)


def last_lines(output: str, count: int = 3) -> str:
    """What a process said last, without paths of this machine: the reason of a failure."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return without_paths("\n".join(lines[-count:]))[-600:]


def without_paths(text: str) -> str:
    """Text for the page: places of this machine become names."""
    places = (
        (LAB, "LAB"),
        (sys.prefix, ".venv"),
        (f"{ROOT}/", ""),
        (ROOT, "."),
        (Path.home(), "~"),
    )
    for path, name in places:
        text = text.replace(str(path), name)
    return text


class Records:
    """What has been installed and made, kept in LAB/records.json after every change."""

    def __init__(self) -> None:
        self.file = LAB / "records.json"
        self.values: dict[str, dict[str, Any]] = {}
        if self.file.exists():
            self.values = json.loads(self.file.read_text())

    def get(self, key: str) -> dict[str, Any]:
        return self.values.get(key, {})

    def put(self, key: str, value: dict[str, Any]) -> None:
        if self.file.exists():  # another run may have written since
            self.values = json.loads(self.file.read_text())
        self.values[key] = value
        LAB.mkdir(parents=True, exist_ok=True)
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(self.values, indent=1))
        new.replace(self.file)
