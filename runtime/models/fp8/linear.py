"""Linear layers with the release's FP8 weights, multiplied in FP8.

`Fp8Linear` (storage.py) is the release's arithmetic: it dequantises its weight in every call. The
layers here quantise the activations instead, row by row, and use the tensor cores' FP8 product. The
result differs by the rounding of the activations, about 2.5 % of each number, averaged over a sum.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from runtime.errors import Unsupported
from runtime.models.fp8.matmul import MULTIPLE, Fp8Matrix, check_device, fits, fp8_linear
from runtime.models.fp8.storage import Fp8Linear

MODULATIONS = ("_mod.linear", ".modulation.linear")  # endings of their linears' names


class ScaledFp8Linear(Fp8Linear):
    """`Fp8Linear` with the FP8 product; it has the same tensors under the same names."""

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in_features) to (..., out_features), in the dtype of x."""
        return fp8_linear(x, Fp8Matrix(self.weight, self.weight_scale.reshape(())), self.bias)


def use_scaled_products(model: nn.Module, device: torch.device | None = None) -> None:
    """Replace the dequantising linears of a model by `ScaledFp8Linear`, which share their tensors.

    Modulations are not replaced: they are computed once per session, and every token is scaled by
    them. `device` is the device of the products, None: that of the weights. Raises Unsupported if
    the model has no FP8 weights, if a side of one is no multiple of 16, or if the GPU has no FP8
    units.
    """
    linears = {
        name: module
        for name, module in model.named_modules()
        if type(module) is Fp8Linear and not name.endswith(MODULATIONS)
    }
    if not linears:
        raise Unsupported("The model has no FP8 weights. Load its FP8 file.", param="precision")
    for name, linear in linears.items():
        check_device(device or linear.weight.device)
        if not fits(*linear.weight.shape):
            raise Unsupported(
                f"{name} is {tuple(linear.weight.shape)}, but FP8 products need multiples of "
                f"{MULTIPLE}. Run this model with dequantised weights.",
                param="precision",
            )
        model.set_submodule(name, _scaled(linear))


def _scaled(linear: Fp8Linear) -> ScaledFp8Linear:
    with torch.device("meta"):
        scaled = ScaledFp8Linear(linear.in_features, linear.out_features, linear.bias is not None)
    scaled.weight, scaled.bias = linear.weight, linear.bias
    scaled.weight_scale = linear.weight_scale
    return scaled
