"""The binding: values in and out, memory that is shared or not, errors that name the input."""

import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from penlight.errors import PenlightError, ProgramError, RuntimeFailure
from penlight.program import schema
from penlight.program.schema import ScalarType
from penlight.runtime import Runtime, kernels, load
from penlight.runtime.names import parameter_names

Make = Callable[..., bytes]

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_forward_takes_and_gives_arrays(make_add: Make) -> None:
    with load(make_add()) as program:
        result = program.forward(X, X)
    assert isinstance(result, np.ndarray)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, X + X)


def test_from_a_path(make_add: Make, tmp_path: Path) -> None:
    path = tmp_path / "größe.pte"
    path.write_bytes(make_add())
    for source in (path, str(path)):
        with load(source) as program:
            np.testing.assert_array_equal(program.forward(X, X), X + X)


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage/enabled").exists(),
    reason="this system has no pages to choose from",
)
def test_large_pages_are_asked_for(make_add: Make, tmp_path: Path) -> None:
    path = tmp_path / "add.pte"
    path.write_bytes(make_add())
    with load(path):
        smaps = Path("/proc/self/smaps").read_text()
    flags = next(line for line in smaps.split(str(path))[1].splitlines() if "VmFlags" in line)
    assert "hg" in flags.split()


def test_methods_and_their_signatures(make_add: Make) -> None:
    with load(make_add()) as program:
        assert program.methods == ("forward", "accumulate")
        left, right = program.info("forward").inputs
        (total,) = program.method("forward").outputs
    assert (left.name, right.name, total.name) == ("left", "right", "sum")
    assert (left.kind, left.dtype, left.shape, left.nbytes) == ("tensor", "float32", (2, 3), 24)
    assert left.dim_bounds == ((2, 2), (3, 3))
    assert not left.dynamic


def test_memory_is_known_beforehand(make_add: Make) -> None:
    with load(make_add()) as program:
        memory = program.memory("forward")
        assert memory.planned == 192
        assert memory.total >= memory.planned + memory.structures > 192
        assert program.method("forward").memory == memory


@pytest.mark.parametrize(
    "dtype",
    ["uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"],
)
def test_every_dtype(make_add: Make, dtype: str) -> None:
    codes = {"uint8": "BYTE", "int8": "CHAR", "int16": "SHORT", "int32": "INT", "int64": "LONG"}
    codes |= {"float16": "HALF", "float32": "FLOAT", "float64": "DOUBLE"}
    x = np.arange(6).reshape(2, 3).astype(dtype)
    with load(make_add(ScalarType[codes[dtype]])) as program:
        assert program.info("forward").inputs[0].dtype == dtype
        result = program.forward(x, x)
    assert result.dtype == x.dtype
    np.testing.assert_array_equal(result, x + x)


def test_bfloat16_is_uint16_bits_in_numpy_and_itself_in_torch(make_add: Make) -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor([[1.5, -2.0, 3.0]], dtype=torch.bfloat16)
    with load(make_add(ScalarType.BFLOAT16, (1, 3))) as program:
        result = program.forward(x, x)
        assert result.dtype == torch.bfloat16
        assert torch.equal(result, x + x)
        bits = x.view(torch.int16).numpy().view(np.uint16)
        result = program.forward(bits, bits)
        assert result.dtype == np.uint16
        assert result.tolist() == (x + x).view(torch.int16).numpy().view(np.uint16).tolist()


def test_torch_tensors_give_torch_tensors(make_add: Make) -> None:
    torch = pytest.importorskip("torch")
    x = torch.arange(6.0).reshape(2, 3).requires_grad_()
    with load(make_add()) as program:
        result = program.forward(x, x.detach().numpy())
    assert torch.equal(result, (x + x).detach())


def test_the_binding_does_not_import_torch(make_add: Make, tmp_path: Path) -> None:
    path = tmp_path / "add.pte"
    path.write_bytes(make_add())
    code = (
        "import sys, numpy as np; from penlight.runtime import load;"
        f"x = np.ones((2, 3), np.float32); print(load({str(path)!r}).forward(x, x)[0, 0]);"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "2.0\n"), done.stderr


@pytest.mark.parametrize(
    "x",
    [
        np.asfortranarray(X),
        np.ascontiguousarray(X[::-1])[::-1],
        np.repeat(X, 2, axis=1)[:, ::2],
        np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(2, 3),
        X.astype(">f4"),
        np.broadcast_to(np.float32(2), (2, 3)),
    ],
    ids=["transposed", "negative stride", "gaps", "misaligned", "big-endian", "broadcast"],
)
@pytest.mark.parametrize("planned", [True, False])
def test_any_layout_of_the_input_is_right(make_add: Make, x: np.ndarray, planned: bool) -> None:
    with load(make_add(planned=planned)) as program:
        np.testing.assert_array_equal(program.forward(x, X), x + X)


def test_channels_last(make_add: Make) -> None:
    shape = (1, 2, 3, 4)
    x = np.arange(24, dtype=np.float32).reshape(shape)
    with load(make_add(shape=shape, order=(0, 2, 3, 1))) as program:
        result = program.forward(x, x)
    np.testing.assert_array_equal(result, x + x)
    assert result.strides == (96, 4, 32, 8), "the output keeps its layout"


def test_dynamic_shapes_up_to_their_bound(make_add: Make) -> None:
    with load(make_add(shape=(4, 3), dynamic=True)) as program:
        (info, _) = program.info("forward").inputs
        assert info.dynamic
        assert info.dim_bounds == ((0, 4), (0, 3))
        for rows in (4, 1, 0, 3):
            x = np.ones((rows, 3), np.float32)
            assert program.forward(x, x).shape == (rows, 3)
        with pytest.raises(RuntimeFailure, match=r"\[left\] expected .* up to \(4, 3\) but got"):
            program.forward(np.ones((5, 3), np.float32), X)


def test_scalars_and_tensors_without_dimensions(make_add: Make) -> None:
    with load(make_add(shape=())) as program:
        assert program.forward(np.float32(1), np.float32(2)).item() == 3
        assert program.forward(np.array(1, np.float32), np.array(2, np.float32)).shape == ()


def test_numbers_text_and_nothing_as_inputs(make_echo: Make) -> None:
    values = (schema.Int(), schema.Double(), schema.Bool(), schema.Null())
    with load(make_echo(*values)) as program:
        kinds = [info.kind for info in program.info().inputs]
        assert kinds == ["int", "float", "bool", "none"]
        assert program.forward(-(2**63), 0.5, True, None) == (-(2**63), 0.5, True, None)
        assert program.forward(np.int32(7), 1, np.True_, None) == (7, 1.0, True, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((True, 0.5, True, None), r"\[input 0\] expected a int value but got bool True"),
        ((2**63, 0.5, True, None), r"\[input 0\] expected a int value but got int 9223"),
        ((1, "a", True, None), r"\[input 1\] expected a float value but got str 'a'"),
        ((1, 10**400, True, None), r"\[input 1\] expected .* too large for a float"),
        ((1, 0.5, 1, None), r"\[input 2\] expected a bool value but got int 1"),
        ((1, 0.5, True, 0), r"\[input 3\] expected a none value but got int 0"),
    ],
)
def test_wrong_kinds_name_the_input(make_echo: Make, given: tuple, message: str) -> None:
    values = (schema.Int(), schema.Double(), schema.Bool(), schema.Null())
    with load(make_echo(*values)) as program, pytest.raises(RuntimeFailure, match=message):
        program.forward(*given)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (X.astype(np.float64), r"\[left\] expected a float32 .* but got float64 of shape \(2, 3\)"),
        (X.astype(object), "but got object"),
        (X.astype(complex), "but got complex128"),
        (X[0], r"but got shape \(3,\)"),
        (X.T, r"but got shape \(3, 2\)"),
        (X.tolist(), "but got list"),
        (None, "but got NoneType None"),
        (1.0, "but got float 1.0"),
        ("text", "but got str 'text'"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(make_add: Make, wrong: object, message: str) -> None:
    with load(make_add()) as program, pytest.raises(RuntimeFailure, match=message):
        program.forward(wrong, X)


def test_torch_tensors_that_do_not_fit_are_named(make_add: Make) -> None:
    torch = pytest.importorskip("torch")
    ones = torch.ones(2, 3)
    wrong = [ones.double(), ones.to("meta"), ones.to_sparse(), ones.to(torch.complex64)]
    with load(make_add()) as program:
        for tensor in wrong:
            with pytest.raises(RuntimeFailure, match=r"\[left\] expected a float32 tensor .* but"):
                program.forward(tensor, ones)


def test_the_number_of_inputs_is_checked(make_add: Make) -> None:
    with load(make_add()) as program:
        with pytest.raises(
            RuntimeFailure, match=r"\[forward\] expected 2 inputs but got 1; .*left"
        ):
            program.forward(X)
        with pytest.raises(RuntimeFailure, match="expected 2 inputs but got 3"):
            program.forward(X, X, X)


def test_outputs_belong_to_the_caller_unless_views_are_wanted(make_add: Make) -> None:
    with load(make_add()) as program:
        method = program.method("forward")
        first = method(X, X)
        (view,) = method.execute([X, X], copy=False)
        method(X, 0 * X)
        np.testing.assert_array_equal(first, X + X)
        np.testing.assert_array_equal(view, X, "the next run shows through a view")


def test_a_view_outlives_its_program(make_add: Make) -> None:
    program = load(make_add())
    (view,) = program.method("forward").execute([X, X], copy=False)
    del program
    gc.collect()
    np.testing.assert_array_equal(view, X + X)


def test_state_is_kept_reset_and_open_to_the_caller(make_add: Make) -> None:
    with load(make_add()) as program:
        method = program.method("accumulate")
        method(X)
        np.testing.assert_array_equal(method(X), 2 * X)
        (state,) = method.state
        np.testing.assert_array_equal(state, 2 * X)
        state[:] = 10
        np.testing.assert_array_equal(method(X), 10 + X)
        method.reset()
        np.testing.assert_array_equal(method(X), X)
        np.testing.assert_array_equal(program.load_method("accumulate")(X), X)


def test_named_data(make_add: Make) -> None:
    program = load(make_add())
    data = program.named_data
    assert set(data) == {"penlight.parameter_names", "notes"}
    notes = data["notes"]
    assert bytes(notes) == b"made for tests"
    assert notes.readonly
    with pytest.raises(KeyError):
        data["missing"]
    assert "missing" not in data
    del program, data
    gc.collect()
    assert bytes(notes) == b"made for tests", "a view keeps its program open"


def test_closed_things_say_so(make_add: Make) -> None:
    program = load(make_add())
    method = program.method("forward")
    program.close()
    program.close()
    with pytest.raises(RuntimeFailure, match=r"\[program\] .* closed; load it again"):
        program.forward(X, X)
    with pytest.raises(RuntimeFailure, match=r"\[method forward\] .* closed"):
        method(X, X)


def test_a_method_outlives_its_closed_program(make_add: Make) -> None:
    program = load(make_add())
    method = program.load_method("forward")
    program.close()
    np.testing.assert_array_equal(method(X, X), X + X)


def test_threads(make_add: Make) -> None:
    with load(make_add(), threads=2) as program:
        assert program.threads == 2
        program.threads = 1
        assert program.threads == 1
        np.testing.assert_array_equal(program.forward(X, X), X + X)
    for wrong in (0, -1, 10**6):
        with pytest.raises(RuntimeFailure, match=r"\[threads\] expected"):
            load(make_add(), threads=wrong)


def test_one_method_from_many_threads(make_add: Make) -> None:
    wrong: list[float] = []
    with load(make_add(), threads=1) as program:
        method = program.method("forward")

        def work(number: float) -> None:
            x = np.full((2, 3), number, np.float32)
            wrong.extend(r for _ in range(200) if (r := method(x, x)[0, 0]) != 2 * number)

        workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert not wrong


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        (b"", ProgramError, "identifier"),
        (b"not a program at all", ProgramError, "identifier"),
        (bytearray(100), ProgramError, "identifier"),
        ("/no/such/file.pte", RuntimeFailure, "file.pte"),
        ("/tmp", PenlightError, r"\[tmp\] expected .* but"),
        ("a\0b", RuntimeFailure, r"\[load\]"),
        (7, RuntimeFailure, r"\[load\] expected a path or bytes but got int"),
    ],
)
def test_what_cannot_be_loaded(source: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        load(source)


def test_unknown_methods_are_told_the_known_ones(make_add: Make) -> None:
    with (
        load(make_add()) as program,
        pytest.raises(RuntimeFailure, match="forward, accumulate but got 'encode'"),
    ):
        program.method("encode")


def test_kernels_are_known_with_their_signatures() -> None:
    table = kernels()
    assert table["aten::add.out"] == "Tensor, Tensor, Scalar, Tensor!"
    assert all(table.values())


def test_executorch_shaped_api(make_add: Make, tmp_path: Path) -> None:
    path = tmp_path / "add.pte"
    path.write_bytes(make_add())
    runtime = Runtime.get()
    assert runtime is Runtime.get()
    assert "aten::add.out" in runtime.operator_registry.operator_names
    assert runtime.backend_registry.is_available("null")
    for source in (path, path.read_bytes(), path.open("rb")):
        program = runtime.load_program(source)
        assert program.method_names == {"forward", "accumulate"}
        method = program.load_method("forward")
        (result,) = method.execute([X, X])
        np.testing.assert_array_equal(result, X + X)
    meta = method.metadata
    assert (meta.name(), meta.num_inputs(), meta.num_outputs()) == ("forward", 2, 1)
    tensor = meta.input_tensor_meta(1)
    assert (tensor.sizes(), tensor.dtype(), tensor.nbytes()) == ((2, 3), 6, 24)
    assert program.metadata("accumulate").num_inputs() == 1
    with pytest.raises(IndexError):
        meta.output_tensor_meta(1)


def test_a_missing_or_wrong_library_is_one_clear_error(tmp_path: Path) -> None:
    text = tmp_path / "libpenlight.so"
    text.write_text("no library")
    code = (
        "from penlight.runtime import load\nfrom penlight.errors import RuntimeFailure\n"
        "try:\n    load(b'')\nexcept RuntimeFailure as error:\n    print(error)\n"
    )
    for path in (text, tmp_path / "missing.so"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={"PENLIGHT_LIBRARY": str(path), "PYTHONPATH": ":".join(sys.path)},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("[library] expected"), done.stdout


@pytest.mark.parametrize(
    "names", [b"{", b"[]", b'{"forward": 1}', b'{"forward": {"inputs": [1]}}', b"\xff", b"[" * 9999]
)
def test_malformed_parameter_names_are_refused(names: bytes) -> None:
    with pytest.raises(ProgramError, match=r"\[penlight.parameter_names\] expected"):
        parameter_names(names)
