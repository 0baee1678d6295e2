"""Which weights of a transformer are on the device, and which stay in host memory.

All AdaLN outputs of a session are computed when it begins. So the weights that compute them, a
quarter of the 13 B, need no memory on the device: each call loads one layer there. If exported
engines run the blocks, the blocks' own weights stay on the host as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call

from runtime.models.dit.dit import DiT
from runtime.models.dit.layers import Modulation
from runtime.models.fp8.storage import FP8


class OffloadedModulation(nn.Module):
    """A modulation with weights in host memory; each call copies them to its input's device."""

    def __init__(self, modulation: Modulation) -> None:
        super().__init__()
        self.linear = modulation.linear

    def forward(self, activated_vec: Tensor) -> Tensor:
        device = activated_vec.device
        weights = {name: tensor.to(device) for name, tensor in self.linear.state_dict().items()}
        parts: Tensor = functional_call(self.linear, weights, (activated_vec,))
        return parts


def load_to_device(dit: DiT, device: torch.device, blocks: bool = True) -> None:
    """Moves the weights that the device needs from the host, where they were loaded.

    With `blocks` False, those of the double and single blocks stay on the host: engines run them.
    On a CPU nothing moves.
    """
    if device.type == "cpu":
        return
    for name, module in list(dit.named_modules()):
        if isinstance(module, Modulation):
            dit.set_submodule(name, OffloadedModulation(module))
    for module in needed_modules(dit, blocks):
        for name, parameter in module.named_parameters(recurse=False):
            moved = nn.Parameter(parameter.data.to(device), requires_grad=False)
            setattr(module, name, moved)
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))


def needed_modules(dit: DiT, blocks: bool) -> Iterator[nn.Module]:
    """The modules whose own weights the device needs."""
    kinds = (Modulation, OffloadedModulation)
    offloaded = {inner for m in dit.modules() if isinstance(m, kinds) for inner in m.modules()}
    if not blocks:
        for block in (*dit.double_blocks, *dit.single_blocks):
            offloaded |= set(block.modules())
    return (module for module in dit.modules() if module not in offloaded)


def bytes_on_device(dit: DiT, blocks: bool = True) -> int:
    """Size of what `load_to_device` moves: float8 weights as they are, all others in bfloat16."""
    return sum(
        parameter.numel() * (1 if parameter.dtype == FP8 else 2)
        for module in needed_modules(dit, blocks)
        for parameter in module.parameters(recurse=False)
    )
