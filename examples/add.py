"""The smallest model: two numbers in, their sum out.

penlight export examples/add.py:Add -o add.pte
penlight run add.pte --input 1.0 --input 2.0
"""

from __future__ import annotations

import torch
from torch import Tensor


class Add(torch.nn.Module):
    """x [1] + y [1] -> [1]"""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


def example_inputs() -> tuple[Tensor, Tensor]:
    """What `penlight export` captures the model with."""
    return torch.ones(1), torch.ones(1)
