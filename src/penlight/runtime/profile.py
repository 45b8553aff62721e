"""Where a method's time goes, instruction by instruction, and what the machine would allow::

    method = program.method("forward")
    with method.profile() as profile:
        for _ in range(10):
            method(x)
    for cost in profile.operators():
        print(cost.name, cost.runs, cost.seconds, cost.nbytes / cost.seconds)
    print(program.probe().read_bytes_per_second)

Bytes are those that a call must move: of each tensor its elements once, wherever they come from;
of gathered tensors and of key and value caches the part in use. See ``penlight_profile.h``.
"""

from __future__ import annotations

import ctypes
import dataclasses
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from penlight.errors import RuntimeFailure
from penlight.runtime import abi

__all__ = ["Cost", "Probe", "Profile", "probe"]

_KINDS = ("kernel", "delegate", "control")


@dataclass(frozen=True)
class Cost:
    """What an instruction, or all those of one name, cost: sums over their runs."""

    name: str  # "penlight::linear.out", a delegate's id, "move", "jump", "nothing"
    kind: str  # "kernel", "delegate" or "control"
    method: int  # which of the profiled methods
    chain: int  # the place in the method; that of the first for several
    instruction: int
    calls: int  # instructions that are summed up here
    runs: int
    seconds: float
    constant_bytes: int  # read of weights
    state_bytes: int  # read of mutable state: key and value caches
    read_bytes: int  # read of other tensors
    written_bytes: int
    multiply_adds: int  # of linear layers, products, convolutions and attention; else 0

    @property
    def nbytes(self) -> int:
        """All bytes that had to move."""
        return self.constant_bytes + self.state_bytes + self.read_bytes + self.written_bytes

    @property
    def memory_bytes(self) -> int:
        """Those that no cache holds from one run to the next: weights and state."""
        return self.constant_bytes + self.state_bytes


_SUMS = (
    *("calls", "runs", "seconds", "constant_bytes", "state_bytes", "read_bytes"),
    *("written_bytes", "multiply_adds"),
)


def total(costs: Sequence[Cost], name: str = "total") -> Cost:
    """One cost of the given name that is the sum of all."""
    sums = {field: sum(getattr(cost, field) for cost in costs) for field in _SUMS}
    first = costs[0] if costs else Cost(name, "kernel", *[0] * (len(dataclasses.fields(Cost)) - 2))
    return dataclasses.replace(first, name=name, **sums)


class Profile:
    """Counts while its block runs. Made by `Method.profile` and `LLM.profile`."""

    def __init__(
        self, methods: Callable[[], Sequence[ctypes.c_void_p]], lock: threading.Lock
    ) -> None:
        self._methods = methods
        self._lock = lock
        self._kept: tuple[Cost, ...] | None = ()  # None while it counts

    @property
    def instructions(self) -> tuple[Cost, ...]:
        """Every instruction in the order of the program, whether it ran or not.

        May be asked for while counting. Raises RuntimeFailure if the method is closed by then.
        """
        if self._kept is not None:
            return self._kept
        with self._lock:
            return self._read()

    def operators(self) -> list[Cost]:
        """Instructions that ran, summed up by name; the most costly first."""
        groups: dict[tuple[str, str], list[Cost]] = {}
        for cost in self.instructions:
            if cost.runs:
                groups.setdefault((cost.name, cost.kind), []).append(cost)
        sums = [total(costs, name) for (name, _), costs in groups.items()]
        return sorted(sums, key=lambda cost: -cost.seconds)

    def clear(self) -> None:
        """Begin again from zero. Raises RuntimeFailure outside of its block."""
        if self._kept is not None:
            raise RuntimeFailure(
                "[profile] expected a profile that is counting but its block is over; make another"
            )
        self._switch(True)

    def _switch(self, on: bool) -> None:
        with self._lock:
            for method in self._methods():
                abi.call("method_set_profiling", method, on)

    def _read(self) -> tuple[Cost, ...]:
        costs = []
        record = abi.ProfileRecord()
        for place, method in enumerate(self._methods()):
            for index in range(abi.ask("method_profile_count", method)):
                abi.call("method_profile", method, index, ctypes.byref(record))
                costs.append(_cost(record, place))
        return tuple(costs)

    def __enter__(self) -> Profile:
        self._switch(True)
        self._kept = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kept = self.instructions
        self._switch(False)


def _cost(record: abi.ProfileRecord, method: int) -> Cost:
    return Cost(
        name=record.name.decode(errors="replace"),
        kind=_KINDS[record.kind],
        method=method,
        chain=record.chain,
        instruction=record.instruction,
        calls=1,
        runs=record.runs,
        seconds=record.nanoseconds * 1e-9,
        constant_bytes=record.constant_bytes,
        state_bytes=record.state_bytes,
        read_bytes=record.read_bytes,
        written_bytes=record.written_bytes,
        multiply_adds=record.multiply_adds,
    )


@dataclass(frozen=True)
class Probe:
    """What the threads of a program reach together on this machine, measured just now."""

    threads: int
    read_bytes_per_second: float  # streaming through a buffer that no cache holds
    multiply_adds_per_second: float  # int8 dot products of operands in the nearest cache


def probe(runtime: ctypes.c_void_p, buffer_bytes: int | None = None) -> Probe:
    """Measure; takes a fraction of a second. See `Program.probe`."""
    record = abi.ProbeRecord()
    if buffer_bytes is not None and not 1 << 20 <= buffer_bytes < 1 << 62:
        raise RuntimeFailure(
            f"[probe] expected a buffer of 1 MiB or more but got {buffer_bytes} bytes; leave it "
            "out for 256 MiB"
        )
    abi.call("runtime_probe", runtime, buffer_bytes or 0, ctypes.byref(record))
    return Probe(record.threads, record.read_bytes_per_second, record.multiply_adds_per_second)
