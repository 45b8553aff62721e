"""A profile counts every run of every instruction, and the bytes that had to move."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from penlight.errors import RuntimeFailure
from penlight.runtime import Cost, load

Make = Callable[..., bytes]

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def moved(cost: Cost) -> tuple[int, int, int, int]:
    return cost.constant_bytes, cost.state_bytes, cost.read_bytes, cost.written_bytes


def test_runs_and_bytes_are_exact(make_add: Make) -> None:
    with load(make_add()) as program:
        method = program.method("forward")
        with method.profile() as profile:
            for _ in range(3):
                method(X, X)
        (add,) = profile.instructions
    assert (add.name, add.kind, add.calls, add.runs) == ("aten::add.out", "kernel", 1, 3)
    assert (add.chain, add.instruction) == (0, 0)
    assert moved(add) == (0, 0, 3 * 48, 3 * 24)
    assert add.nbytes == 3 * 72
    assert add.seconds > 0


def test_bytes_follow_the_actual_shape(make_add: Make) -> None:
    with load(make_add(shape=(4, 3), dynamic=True)) as program:
        method = program.method("forward")
        with method.profile() as profile:
            method(X[:1], X[:1])
    assert profile.instructions[0].nbytes == 3 * 12


def test_state_is_told_from_other_memory(make_add: Make) -> None:
    with load(make_add()) as program:
        method = program.method("accumulate")
        with method.profile() as profile:
            method(X)
    assert moved(profile.instructions[0]) == (0, 24, 24, 24)


def test_counting_ends_with_the_block_and_can_begin_anew(make_add: Make) -> None:
    with load(make_add()) as program:
        method = program.method("forward")
        with method.profile() as profile:
            method(X, X)
            assert profile.instructions[0].runs == 1
            profile.clear()
            assert profile.instructions[0].runs == 0
            assert profile.operators() == []
            method(X, X)
            method(X, X)
        method(X, X)
        assert profile.instructions[0].runs == 2
        assert [cost.runs for cost in profile.operators()] == [2]
        with pytest.raises(RuntimeFailure, match="is counting but its block is over"):
            profile.clear()
        with method.profile() as again:
            pass
        assert again.instructions[0].runs == 0


def test_a_run_that_fails_is_not_counted(make_add: Make) -> None:
    with load(make_add()) as program:
        method = program.method("forward")
        with method.profile() as profile:
            method(X, X)
            with pytest.raises(RuntimeFailure):
                method(X, X.astype(np.int32))
        assert profile.instructions[0].runs == 1


def test_a_closed_method_has_no_profile(make_add: Make) -> None:
    with load(make_add()) as program:
        method = program.method("forward")
        method.close()
        with pytest.raises(RuntimeFailure, match="was closed"), method.profile():
            pass


def test_the_machine_is_measured_with_the_programs_threads(make_add: Make) -> None:
    with load(make_add(), threads=2) as program:
        found = program.probe(1 << 20)
        assert found.threads == 2
        assert found.read_bytes_per_second > 1e6
        assert found.multiply_adds_per_second > 1e6
        for wrong in (0, -1, (1 << 20) - 1, 1 << 62):
            with pytest.raises(RuntimeFailure, match="1 MiB or more"):
                program.probe(wrong)
        with pytest.raises(RuntimeFailure, match="bytes of memory but got none"):
            program.probe(1 << 60)
