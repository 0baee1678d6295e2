"""The numbers that an FP8 matrix stands for."""

from torch import Tensor

from runtime.models.fp8.matmul import Fp8Matrix


def dequantized(matrix: Fp8Matrix) -> Tensor:
    """The matrix (rows, K) in float32."""
    return matrix.values.float() * matrix.scale
