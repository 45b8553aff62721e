"""No file, however malformed, does more than raise one clear error."""

import re
import struct
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from penlight.errors import PenlightError, ProgramError
from penlight.program.read import read_program
from penlight.runtime import load

STRICT_FORM = re.compile(r"\[.+\] expected .+ but .+; .+")
# While a program runs, its kernels speak, and theirs is to say what was wrong.
KERNEL_FORM = re.compile(r"\[\w+::.+\] expected .+ but got .+")
FLIPS = 5000


def run_all(data: bytes | Path) -> None:
    """Open a program, load and run every method on zeros."""
    with load(data, threads=1) as program:
        for key in program.named_data:
            bytes(program.named_data[key])
        for name in program.methods:
            with program.load_method(name) as method:
                if any(info.nbytes > 1 << 20 for info in method.inputs):
                    continue
                inputs = [np.zeros(i.shape, i.numpy_dtype) for i in method.inputs if i.numpy_dtype]
                method.execute(inputs)


def test_the_sound_program_is_accepted_by_all(hostile: ModuleType, driver: Path) -> None:
    sound = hostile.sound_program()
    read_program(sound).close()
    run_all(sound)
    assert drive(driver, [sound]) == ["ok"]


def test_the_reader_refuses(case: Any) -> None:
    if case.reader is None:
        read_program(case.data).close()  # sound as a file; only running it fails
        return
    with pytest.raises(ProgramError, match=case.reader) as caught:
        read_program(case.data)
    assert STRICT_FORM.fullmatch(str(caught.value))


def test_the_runtime_refuses(case: Any) -> None:
    with pytest.raises(PenlightError, match=case.runtime) as caught:
        run_all(case.data)
    assert STRICT_FORM.fullmatch(str(caught.value))


def test_a_file_on_disk_is_refused_like_bytes(hostile: ModuleType, tmp_path: Path) -> None:
    for number, case in enumerate(hostile.byte_cases(hostile.sound_program())):
        path = tmp_path / f"{number}.pte"
        path.write_bytes(case.data)
        with pytest.raises(PenlightError):
            run_all(path)


def test_sanitizers_find_nothing_in_any_case(hostile: ModuleType, driver: Path) -> None:
    cases = hostile.cases()
    answers = drive(driver, [case.data for case in cases])
    for case, answer in zip(cases, answers, strict=True):
        assert re.search(case.runtime, answer), f"{case.name}: {answer}"


@pytest.mark.parametrize("way", ["flips", "rewritten"])
def test_sanitizers_find_nothing_in_random_changes(
    fuzz: ModuleType, driver: Path, way: str
) -> None:
    answers = drive(driver, list(getattr(fuzz, way)(FLIPS, seed=1)))
    kinds = Counter(answer == "ok" for answer in answers)
    assert kinds[True] > FLIPS // 50, "some changes are harmless, so execution is reached"
    assert kinds[False] > FLIPS // 2
    refusals = [answer for answer in answers if answer != "ok"]
    forms = (STRICT_FORM, KERNEL_FORM)
    assert not [r for r in refusals if not any(form.fullmatch(r) for form in forms)]


def test_the_reader_survives_random_changes(fuzz: ModuleType) -> None:
    for data in fuzz.flips(FLIPS, seed=2):
        message = refusal(data)
        assert message is None or STRICT_FORM.fullmatch(message)


def refusal(data: bytes) -> str | None:
    """What the reader says against a program, if anything."""
    try:
        read_program(data).close()
    except ProgramError as error:
        return str(error)
    return None


def drive(driver: Path, programs: list[bytes]) -> list[str]:
    """The driver's answer to each program. Fails if a sanitizer speaks or it takes too long."""
    # A hostile plan may ask for any amount of memory; refusing it is the allocator's part.
    environment = {"ASAN_OPTIONS": "allocator_may_return_null=1:detect_leaks=1"}
    with tempfile.NamedTemporaryFile() as pack:
        pack.writelines(struct.pack("<I", len(data)) + data for data in programs)
        pack.flush()
        result = subprocess.run(
            [driver, pack.name],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
            check=False,
        )
    assert result.returncode == 0, result.stdout[-300:] + result.stderr[:3000]
    answers = result.stdout.splitlines()
    assert len(answers) == len(programs)
    return answers
