"""Programs that are malformed at random: without end, and the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from make import encoded
from sound import sound_program

from penlight.errors import ProgramError
from penlight.program.fields import Kind, fields_of
from penlight.program.read import read_program


def flips(count: int, seed: int) -> Iterator[bytes]:
    """The sound program with a few bytes of its header and tables changed at random."""
    sound = sound_program()
    end = read_program(sound).header.program_size
    generator = random.Random(seed)
    for _ in range(count):
        changed = bytearray(sound)
        for _ in range(generator.choice((1, 1, 1, 2, 3, 8))):
            at = generator.randrange(end)
            new = generator.choice((0, 1, 127, 128, 255, changed[at] ^ 1 << generator.randrange(8)))
            changed[at] = new
        yield bytes(changed)


NUMBERS = (-(2**31), -2, -1, 0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 17, 64, 255, 2**20, 2**31 - 1)


def rewritten(count: int, seed: int) -> Iterator[bytes]:
    """The sound program with one to three of its numbers, at random, replaced by others.

    Every file is well encoded, so these reach further than changed bytes do.
    """
    sound = sound_program()
    generator = random.Random(seed)
    program = read_program(sound).program
    places = [list(_numbers(plan)) for plan in program.execution_plan]
    for _ in range(count):
        plan = places[generator.randrange(3)]
        replaced = []
        for _ in range(generator.choice((1, 1, 2, 3))):
            owner, key = generator.choice(plan)
            replaced.append((owner, key, _replace(owner, key, generator.choice(NUMBERS))))
        try:
            yield encoded(program, sound)
        except ProgramError:
            continue  # the number does not fit its field
        finally:
            for owner, key, number in reversed(replaced):
                _replace(owner, key, number)


def _replace(owner: Any, key: Any, number: Any) -> Any:
    """Put another number in a place; gives the one that was there."""
    if isinstance(owner, list):
        before, owner[key] = owner[key], number
    else:
        before = getattr(owner, key)
        setattr(owner, key, number)
    return before


def _numbers(table: Any) -> Iterator[tuple[Any, Any]]:
    """Where the numbers of a table and of those below it are kept."""
    for field in fields_of(type(table)):
        value = getattr(table, field.name)
        if field.kind is Kind.SCALAR:
            yield table, field.name
        elif field.kind is Kind.SCALARS and isinstance(value, list):
            yield from ((value, index) for index in range(len(value)))
        elif field.kind is Kind.TABLES:
            for item in value or ():
                yield from _numbers(item)
        elif field.kind in (Kind.TABLE, Kind.UNION) and value is not None:
            yield from _numbers(value)
