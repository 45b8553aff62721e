"""Writing: what comes back is what went in, streamed, laid out as promised, or not at all."""

import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from penlight.errors import ProgramError
from penlight.program.read import read_program
from penlight.program.schema import (
    AllocationDetails,
    BackendDelegate,
    Chain,
    EValue,
    ExecutionPlan,
    Instruction,
    Int,
    KernelCall,
    Operator,
    Tensor,
)
from penlight.program.write import Blob, ProgramBuilder


class Zeros:
    """Bytes that exist only while they are written."""

    def __init__(self, nbytes: int, *, given: int | None = None) -> None:
        self.nbytes = nbytes
        self._given = nbytes if given is None else given

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, self._given, 1 << 16):
            yield bytes(min(1 << 16, self._given - start))


def test_reading_gives_back_every_table(builder: ProgramBuilder) -> None:
    with read_program(builder.to_bytes()) as file:
        written, _ = builder._layout()
        assert file.program == written


def test_reading_gives_back_the_data(builder: ProgramBuilder) -> None:
    with read_program(builder.to_bytes()) as file:
        assert bytes(file.named_data["penlight.model"]) == b'{"name": "tiny"}'
        assert np.frombuffer(file.constant(1, 16), np.float32).tolist() == [0, 1, 2, 3]
        index = file.program.mutable_data_segments[0].segment_index
        assert np.frombuffer(file.segment(index), np.float32).tolist() == [2, 2, 2, 2]


def test_constants_are_aligned_and_segments_start_on_pages() -> None:
    builder = ProgramBuilder()
    for size in (1, 3, 100):
        builder.add_constant(Blob(bytes(size)))
    reference = builder.add_delegate_data(Blob(b"processed"))
    plan = ExecutionPlan("f", chains=[Chain()], delegates=[BackendDelegate("null", reference)])
    builder.add_plan(plan)
    with read_program(builder.to_bytes()) as file:
        assert file.program.constant_segment.offsets == [0, 0, 64, 128]
        base = file.header.segment_base_offset
        assert [(base + s.offset) % 4096 for s in file.program.segments] == [0, 0]
        assert bytes(file.segment(reference.index)) == b"processed"


def test_a_key_is_stored_once() -> None:
    builder = ProgramBuilder()
    first = builder.add_constant(Blob(b"tied"), key="embedding")
    assert builder.add_constant(Zeros(4, given=0), key="embedding") == first
    with pytest.raises(ProgramError, match="expected 4 bytes"):
        builder.add_constant(Blob(b"other"), key="embedding")


def test_memory_does_not_grow_with_the_data() -> None:
    builder = ProgramBuilder()
    builder.add_constant(Zeros(64 << 20))

    class Nowhere(io.RawIOBase):
        def write(self, data: object) -> int:
            return memoryview(data).nbytes

    tracemalloc.start()
    builder.write(Nowhere())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 << 20  # a piece of 4 MiB


def test_files_are_written_in_large_aligned_pieces() -> None:
    builder = ProgramBuilder()
    for size in (3 << 20, 5, 9 << 20, 70_000):
        builder.add_constant(Zeros(size))
    writes: list[int] = []

    class Sizes(io.BytesIO):
        def write(self, data: object) -> int:
            writes.append(memoryview(data).nbytes)  # type: ignore[arg-type]
            return super().write(data)  # type: ignore[arg-type]

    file = Sizes()
    builder.write(file)
    assert file.getvalue() == builder.to_bytes()
    assert set(writes[:-1]) == {4 << 20}, "each begins and ends at a multiple of 4 MiB"
    assert 0 < writes[-1] <= 4 << 20


@pytest.mark.parametrize("given", [0, 99, 101, 1 << 20])
def test_a_source_must_give_what_it_promised(tmp_path: Path, given: int) -> None:
    builder = ProgramBuilder()
    builder.add_constant(Zeros(100, given=given), key="weight")
    path = tmp_path / "model.pte"
    path.write_bytes(b"the old file")
    with pytest.raises(ProgramError, match=r"\[constant weight\] expected 100 bytes but .* gave"):
        builder.save(path)
    assert path.read_bytes() == b"the old file"
    assert list(tmp_path.iterdir()) == [path], "the temporary file is removed"


def test_save_replaces_the_file(builder: ProgramBuilder, tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    path.write_bytes(b"old")
    builder.save(path)
    assert path.read_bytes() == builder.to_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_progress_ends_at_the_size_of_the_file(builder: ProgramBuilder) -> None:
    seen: list[tuple[int, int]] = []
    file = io.BytesIO()
    builder.write(file, progress=lambda done, total: seen.append((done, total)))
    size = len(file.getvalue())
    assert seen[-1] == (size, size)
    assert seen == sorted(seen)


def test_arrays_are_stored_in_row_major_order() -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3).T
    assert b"".join(bytes(c) for c in Blob(array).chunks()) == array.tobytes()
    assert Blob(np.zeros((0, 3))).nbytes == 0
    assert Blob(np.float32(1.5)[...]).nbytes == 4


def test_many_values_are_written_quickly() -> None:
    """20,000 values and instructions in well under the five seconds that a user would notice."""
    import time

    tensor = Tensor(sizes=[4], dim_order=[0], allocation_info=AllocationDetails.at(1, 0))
    plan = ExecutionPlan(
        "forward",
        values=[EValue(tensor)] * 20_000,
        chains=[Chain(instructions=[Instruction(KernelCall(0, [1, 2, 3]))] * 20_000)],
        operators=[Operator("aten::add", "out")],
        non_const_buffer_sizes=[0, 16],
    )
    builder = ProgramBuilder()
    builder.add_plan(plan)
    start = time.process_time()
    builder.to_bytes()
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.add_plan(ExecutionPlan("forward")), r"\[method\] expected a new name"),
        (lambda b: b.add_plan(ExecutionPlan("")), r"\[method\] expected a new name"),
        (lambda b: b.add_named_data("penlight.model", Blob(b"")), r"\[named data\] .* new key"),
        (lambda b: b.add_named_data("", Blob(b"")), r"\[named data\] expected a new key"),
        (lambda b: b.add_constant(Blob(b""), alignment=48), r"\[alignment\] .* power of two"),
    ],
)
def test_wrong_parts_are_refused(builder: ProgramBuilder, change: object, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        change(builder)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Int(2**63), r"\[program.execution_plan\[0\].values\[0\].val\] expected numbers that fit"),
        (Tensor(sizes=[2**31], dim_order=[0]), "expected numbers of type int"),
        (Tensor(sizes=[1], dim_order=[1]), r"\[f.values\[0\]\] expected dim_order"),
        (Tensor(sizes=[1], dim_order=[0], data_buffer_idx=7), "expected a data_buffer_idx below 1"),
    ],
)
def test_nothing_unsound_is_written(value: object, message: str) -> None:
    builder = ProgramBuilder()
    builder.add_plan(ExecutionPlan("f", values=[EValue(value)], chains=[Chain()]))
    file = io.BytesIO()
    with pytest.raises(ProgramError, match=message):
        builder.write(file)
    assert file.getvalue() == b""
