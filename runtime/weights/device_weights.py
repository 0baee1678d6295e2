"""Which weights of a transformer lie on the device, and which wait in host memory.

All AdaLN outputs of a session are computed when it begins, so the weights that make them, a quarter
of the 13 B, need no place on the device: they visit it, one layer at a time. Where engines in files
run the blocks, the blocks' own weights stay on the host as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call

from runtime.models.dit.dit import DiT
from runtime.models.dit.layers import Modulation
from runtime.models.fp8.storage import FP8


class VisitingModulation(nn.Module):
    """A modulation whose weights lie in host memory; they go to its input's device in each call."""

    def __init__(self, modulation: Modulation) -> None:
        super().__init__()
        self.linear = modulation.linear

    def forward(self, activated_vec: Tensor) -> Tensor:
        device = activated_vec.device
        weights = {name: tensor.to(device) for name, tensor in self.linear.state_dict().items()}
        parts: Tensor = functional_call(self.linear, weights, (activated_vec,))
        return parts


def place(dit: DiT, device: torch.device, blocks: bool = True) -> None:
    """Moves the weights that the device needs; the transformer was loaded on the host.

    `blocks` False leaves those of the double and single blocks, which engines run, on the host. On
    a CPU nothing moves.
    """
    if device.type == "cpu":
        return
    for name, module in list(dit.named_modules()):
        if isinstance(module, Modulation):
            dit.set_submodule(name, VisitingModulation(module))
    for module in needed_modules(dit, blocks):
        for name, parameter in module.named_parameters(recurse=False):
            moved = nn.Parameter(parameter.data.to(device), requires_grad=False)
            setattr(module, name, moved)
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))


def needed_modules(dit: DiT, blocks: bool) -> Iterator[nn.Module]:
    """The modules whose own weights the device needs."""
    kinds = (Modulation, VisitingModulation)
    waiting = {inner for m in dit.modules() if isinstance(m, kinds) for inner in m.modules()}
    if not blocks:
        for block in (*dit.double_blocks, *dit.single_blocks):
            waiting |= set(block.modules())
    return (module for module in dit.modules() if module not in waiting)


def bytes_on_device(dit: DiT, blocks: bool = True) -> int:
    """What `place` moves: float8 weights as they are, all others in bfloat16."""
    return sum(
        parameter.numel() * (1 if parameter.dtype == FP8 else 2)
        for module in needed_modules(dit, blocks)
        for parameter in module.parameters(recurse=False)
    )
