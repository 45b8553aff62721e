"""The managers: ExecuTorch's names and meanings, and errors that say what to do."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export
from torch.fx import GraphModule
from torch.fx.passes.infra.pass_base import PassBase, PassResult

import penlight
from penlight import EdgeCompileConfig, ExecutorchBackendConfig, MemoryPlanningPass, to_edge
from penlight.errors import ExportError, MissingKernelError
from penlight.program.write import Blob

aten = torch.ops.aten


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0, 3.0]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + 1


@pytest.fixture
def scale() -> ExportedProgram:
    return export(Scale(), (torch.ones(3, 2),))


def run(data: bytes, *inputs: Any, method: str = "forward") -> list[Tensor]:
    return [torch.as_tensor(v) for v in penlight.load(data).method(method).execute(list(inputs))]


def test_names_of_methods_and_programs(scale: ExportedProgram) -> None:
    edge = to_edge({"a": scale, "b": scale}, constant_methods={"version": 1})
    assert (edge.methods, edge.config_methods) == ({"a", "b"}, {"version"})
    assert isinstance(edge.exported_program("a"), ExportedProgram)
    program = edge.to_executorch()
    assert (program.methods, program.config_methods) == ({"a", "b"}, {"version"})
    assert isinstance(program.exported_program("b"), ExportedProgram)
    names = [plan.name for plan in program.executorch_program.execution_plan]
    assert names == ["a", "b", "version"]
    with pytest.raises(ExportError, match="expected one of a, b but got 'c'"):
        edge.exported_program("c")


def test_the_edge_program_still_runs_in_eager(scale: ExportedProgram) -> None:
    x = torch.randn(3, 2)
    edge = to_edge(scale).exported_program()
    assert torch.equal(edge.module()(x), scale.module()(x))


def test_save_write_and_buffer_are_the_same_bytes(scale: ExportedProgram, tmp_path: Path) -> None:
    program = to_edge(scale).to_executorch()
    program.save(tmp_path / "scale.pte")
    stream = io.BytesIO()
    program.write_to_file(stream)
    assert (tmp_path / "scale.pte").read_bytes() == stream.getvalue() == program.buffer
    with pytest.raises(ExportError, match=r"ends in \.pte"):
        program.save(tmp_path / "scale.bin")


def test_dump_names_the_instructions(scale: ExportedProgram) -> None:
    text = io.StringIO()
    to_edge(scale).to_executorch().dump_executorch_program(out=text)
    assert "aten::mul.out" in text.getvalue()
    assert "aten::add.Scalar_out" in text.getvalue()


def test_to_executorch_leaves_the_edge_program_alone(scale: ExportedProgram) -> None:
    edge = to_edge(scale)
    before = str(edge.exported_program().graph)
    first = edge.to_executorch().buffer
    assert str(edge.exported_program().graph) == before
    assert edge.to_executorch().buffer == first


class AddBecomesMul(PassBase):
    def call(self, graph_module: GraphModule) -> PassResult:
        for node in graph_module.graph.nodes:
            if node.target is aten.add.Scalar:
                node.target = aten.mul.Scalar
        graph_module.recompile()
        return PassResult(graph_module, True)


@pytest.mark.parametrize(
    "passes", [AddBecomesMul(), [AddBecomesMul()], {"forward": [AddBecomesMul()]}]
)
def test_transform_takes_one_or_several_passes_or_a_dictionary(
    scale: ExportedProgram, passes: Any
) -> None:
    edge = to_edge(scale)
    x = torch.randn(3, 2)
    changed = edge.transform(passes).to_executorch().buffer
    assert torch.allclose(run(changed, x)[0], x * torch.tensor([2.0, 3.0]))
    assert torch.allclose(run(edge.to_executorch().buffer, x)[0], scale.module()(x))


def test_parameter_names_are_in_the_file() -> None:
    class Named(nn.Module):
        def forward(self, image: Tensor, more: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"scores": image + more["bias"], "raw": image * 2}

    data = to_edge(export(Named(), (torch.ones(2), {"bias": torch.ones(2)}))).to_executorch().buffer
    names = json.loads(bytes(penlight.load(data).named_data["penlight.parameter_names"]))
    assert names == {"forward": {"inputs": ["image", "more_bias"], "outputs": ["scores", "raw"]}}


class Missing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.special.bessel_j0(x)  # marked
        return y + torch.special.bessel_j0(y)


def marked_line() -> int:
    return next(
        number
        for number, line in enumerate(Path(__file__).read_text().splitlines(), 1)
        if line.endswith("  # marked")
    )


def test_a_missing_kernel_is_named_once_with_the_users_line() -> None:
    with pytest.raises(MissingKernelError) as caught:
        to_edge(export(Missing(), (torch.ones(2),))).to_executorch()
    message = str(caught.value)
    assert message.count("aten::special_bessel_j0.out") == 1
    assert f"{__file__}:{marked_line()}: y = torch.special.bessel_j0(x)" in message
    assert "extra_kernels" in message


def test_an_announced_kernel_is_not_missing() -> None:
    config = ExecutorchBackendConfig(extra_kernels=["aten::special_bessel_j0.out"])
    program = to_edge(export(Missing(), (torch.ones(2),))).to_executorch(config)
    names = {(o.name, o.overload) for o in program.executorch_program.execution_plan[0].operators}
    assert ("aten::special_bessel_j0", "out") in names


@pytest.mark.parametrize("config", [EdgeCompileConfig, ExecutorchBackendConfig])
def test_an_unknown_option_is_named(config: Any) -> None:
    with pytest.raises(ExportError, match=f"{config.__name__}.*got 'no_such_option'"):
        config(no_such_option=True)


def test_every_option_of_executorch_is_known() -> None:
    from executorch.exir import EdgeCompileConfig as PeerEdge
    from executorch.exir import ExecutorchBackendConfig as PeerBackend

    for ours, theirs in ((EdgeCompileConfig, PeerEdge), (ExecutorchBackendConfig, PeerBackend)):
        options = dataclasses.asdict(theirs())
        options.pop("memory_planning_pass", None)  # a class of that name is imported from penlight
        ours(**options)


@pytest.mark.parametrize("option", ["external_constants", "external_mutable_weights"])
def test_weights_in_other_files_are_refused(option: str) -> None:
    with pytest.raises(ExportError, match=r"expected the weights to stay in the program"):
        ExecutorchBackendConfig(**{option: True})


def test_wrong_arguments_say_what_was_expected(scale: ExportedProgram) -> None:
    with pytest.raises(ExportError, match="expected an ExportedProgram"):
        to_edge(Scale())  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="at least one method"):
        to_edge({})
    with pytest.raises(ExportError, match="names other than the methods'"):
        to_edge(scale, constant_methods={"forward": 1})
    with pytest.raises(ExportError, match="penlight's ExecutorchBackendConfig"):
        to_edge(scale).to_executorch(EdgeCompileConfig())  # type: ignore[arg-type]


def test_a_dynamic_size_without_a_bound_is_refused() -> None:
    captured = export(Scale(), (torch.ones(3, 2),), dynamic_shapes={"x": {0: Dim("rows")}})
    with pytest.raises(ExportError, match="upper bound for the dynamic size"):
        to_edge(captured).to_executorch()


def test_a_model_without_data_is_written_with_streamed_constants() -> None:
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        captured = export(Scale(), (torch.ones(3, 2),))
    edge = to_edge(captured)
    with pytest.raises(ExportError, match=r"\[constant weight\].*constants="):
        edge.to_executorch()
    weight = torch.tensor([5.0, 7.0])
    data = edge.to_executorch(constants={"weight": Blob(weight.numpy())}).buffer
    x = torch.randn(3, 2)
    assert torch.equal(run(data, x)[0], x * weight + 1)
    with pytest.raises(ExportError, match="expected 8 bytes but got 4"):
        edge.to_executorch(constants={"weight": Blob(bytes(4))})
    with pytest.raises(ExportError, match="got wight"):
        edge.to_executorch(constants={"wight": Blob(bytes(8))})


def test_equal_constants_are_stored_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(512, 64)
            self.copy = nn.Parameter(self.table.weight.detach().clone())

        def forward(self, x: Tensor) -> Tensor:
            return self.table(x) @ self.table.weight.t() + (self.table(x) @ self.copy.t())

    tied = Tied()
    captured = export(tied, (torch.tensor([1, 2]),))
    data = to_edge({"one": captured, "two": captured}).to_executorch().buffer
    assert len(data) < 1.2 * 512 * 64 * 4
    tokens = torch.tensor([3, 5])
    got = run(data, tokens, method="two")[0]
    torch.testing.assert_close(got, tied(tokens), rtol=1e-5, atol=1e-4)  # values around 20


def test_planned_inputs_give_the_same_results(scale: ExportedProgram) -> None:
    config = ExecutorchBackendConfig(
        memory_planning_pass=MemoryPlanningPass(alloc_graph_input=True)
    )
    program = to_edge(scale).to_executorch(config)
    plan = program.executorch_program.execution_plan[0]
    assert plan.values[plan.inputs[0]].val.allocation_info is not None  # type: ignore[union-attr]
    x = torch.randn(3, 2)
    assert torch.allclose(run(program.buffer, x)[0], scale.module()(x))
