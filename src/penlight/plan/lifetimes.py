"""From which instruction to which each storage is in use."""

from __future__ import annotations

from dataclasses import dataclass

from penlight.edge.linear import LinearMethod, Place, Storage, operands, tensors

ALIGNMENT = 64  # bytes; of every offset and size in an arena


@dataclass(frozen=True)
class Lifetime:
    """A storage that is needed from instruction `first` to `last`, both included."""

    storage: Storage
    first: int
    last: int

    @property
    def size(self) -> int:
        """Bytes, rounded up to the alignment."""
        return -(-self.storage.nbytes // ALIGNMENT) * ALIGNMENT


def lifetimes(method: LinearMethod) -> list[Lifetime]:
    """The lifetimes of all arena storages, by first use.

    Inputs live from before the first instruction, outputs to after the last. Jumps only go forward
    and a value made in a branch stays in it, so the order of instructions bounds all uses.
    """
    span: dict[Storage, list[int]] = {}

    def touch(values: list[object], time: int) -> None:
        for tensor in tensors(values):  # type: ignore[arg-type]
            if tensor.storage.place == Place.ARENA:
                span.setdefault(tensor.storage, [time, time])[1] = time

    touch(list(method.inputs), -1)
    for time, instruction in enumerate(method.instructions):
        touch(list(operands(instruction)), time)
    touch(list(method.outputs), len(method.instructions))
    return [Lifetime(storage, first, last) for storage, (first, last) in span.items()]


def largest_live_set(items: list[Lifetime]) -> int:
    """Bytes of the largest set of storages in use at the same time: no plan can need less."""
    changes: dict[int, int] = {}
    for item in items:
        changes[item.first] = changes.get(item.first, 0) + item.size
        changes[item.last + 1] = changes.get(item.last + 1, 0) - item.size
    live = peak = 0
    for time in sorted(changes):
        live += changes[time]
        peak = max(peak, live)
    return peak
