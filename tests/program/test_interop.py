"""Our files in the official reader and runtime, and the official ones in our reader."""

import dataclasses

import pytest

from penlight.program.read import read_program
from penlight.program.schema import Chain, EValue, ExecutionPlan, Int
from penlight.program.write import ProgramBuilder

pytest.importorskip("executorch")
torch = pytest.importorskip("torch")


def test_the_official_runtime_runs_our_file(builder: ProgramBuilder) -> None:
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(builder.to_bytes())
    assert program.method_names == {"forward", "run"}
    (y,) = program.load_method("run").execute([torch.ones(4)])
    assert y.tolist() == [3, 4, 5, 6]


def test_the_official_runtime_runs_a_file_without_data() -> None:
    from executorch.runtime import Runtime

    builder = ProgramBuilder()
    plan = ExecutionPlan("version", values=[EValue(Int(3))], outputs=[0], chains=[Chain()])
    builder.add_plan(plan)
    program = Runtime.get().load_program(builder.to_bytes())
    assert program.load_method("version").execute([]) == [3]


def test_the_official_reader_sees_the_same_tables(builder: ProgramBuilder) -> None:
    from executorch.exir._serialize._program import deserialize_pte_binary

    data = builder.to_bytes()
    with read_program(data) as file:
        ours = [dataclasses.asdict(plan) for plan in file.program.execution_plan]
    theirs = deserialize_pte_binary(data)
    for plan, official in zip(ours, theirs.program.execution_plan, strict=True):
        official_plan = dataclasses.asdict(official)
        # The official class spells infinity as text.
        for value in official_plan["values"]:
            if value["val"].get("double_val") == "inf":
                value["val"]["double_val"] = float("inf")
        assert plan == official_plan
    assert [bytes(b.storage)[:16] for b in theirs.program.constant_buffer][1] == bytes(
        torch.arange(4.0).numpy().data
    )
    assert bytes(theirs.named_data.buffers[0]) == b'{"name": "tiny"}'


def test_we_read_an_official_file() -> None:
    from executorch.exir import to_edge
    from torch.export import export

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(3, 2)
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls.add_(1)
            return torch.relu(self.linear(x)) + self.calls

    model = Model()
    exported = export(model, (torch.ones(1, 3),))
    official = to_edge(exported).to_executorch()
    with read_program(bytes(official.buffer)) as file:
        (plan,) = file.program.execution_plan
        assert plan.name == "forward"
        assert len(plan.inputs) == 1
        names = {operator.name for operator in plan.operators}
        assert "aten::relu" in names
        weights = {
            bytes(file.constant(v.val.data_buffer_idx, 24))
            for v in plan.values
            if getattr(v.val, "sizes", None) == [2, 3] and v.val.data_buffer_idx
        }
        assert weights == {model.linear.weight.detach().numpy().tobytes()}
