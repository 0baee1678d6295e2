"""The peak rate of a large matrix product, and the share of it that a transformer reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.random_weights.random_model import (
    DTYPES,
    WindowSize,
    denoise_flops,
    random_call,
    randomize,
)
from benchmarks.random_weights.stopwatch import times_ms
from runtime.engine.cpu.denoiser import CpuDenoiser
from runtime.engine.kinds import weight_precision
from runtime.models.dit.config import TINY, DiTConfig
from runtime.models.dit.dit import DiT
from runtime.models.fp8.matmul import product, quantize

GPU_SIDE, CPU_SIDE = 8192, 1024  # of the square matrices
WARM_UP, RUNS = 3, 10
TURNS = 20  # of product and transformer, so that other load on the machine affects both equally
BUILTIN_WINDOW = WindowSize(latent_frames=3, rows=32, columns=32, text_tokens=2)


def peak_tflops(device: torch.device, precision: str, side: int | None = None) -> float:
    """TFLOP/s of the fastest of several products of square matrices."""
    if side is None:
        side = GPU_SIDE if device.type == "cuda" else CPU_SIDE
    multiply = _product(device, precision, side)
    return 2 * side**3 / (min(times_ms(multiply, device, WARM_UP, RUNS)) * 1e9)


def _product(device: torch.device, precision: str, side: int) -> Callable[[], object]:
    left = torch.randn(side, side, device=device, dtype=DTYPES[precision])
    right = torch.randn_like(left)
    if weight_precision(precision) == "fp8":
        narrow_left, narrow_right = quantize(left, by_row=False), quantize(right, by_row=False)
        return lambda: product(narrow_left, narrow_right)
    out = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=out)


def run(
    threads: int,
    config: DiTConfig = TINY,
    size: WindowSize = BUILTIN_WINDOW,
    side: int = CPU_SIDE,
) -> dict[str, float]:
    """The CPU's float32 peak, and the rate of one transformer call of the built-in size.

    The call runs on the CPU's default engine, over all tokens of a picture.
    """
    torch.set_num_threads(threads)
    cpu = torch.device("cpu")
    multiply = _product(cpu, "fp32", side)
    dit = DiT(config).eval()
    randomize(dit, cpu, torch.float32)
    call = random_call(dit, size, cpu, "fp32")
    window = replace(call.window, rotation=torch.view_as_complex(call.window.rotation))
    denoiser = CpuDenoiser(dit)

    def denoise() -> None:
        denoiser.denoise(call.x, call.step, window)

    works = (multiply, denoise)
    turns = [[min(times_ms(work, cpu, 1, 2)) for work in works] for _ in range(TURNS)]
    product_ms, ms = (min(each) for each in zip(*turns, strict=True))
    flops, peak = denoise_flops(config, size), 2 * side**3 / product_ms / 1e9
    return {
        "threads": threads,
        "float32 peak, GFLOP/s": peak * 1e3,
        "one denoiser call, GFLOP": flops / 1e9,
        "one denoiser call, ms": ms,
        "reached, GFLOP/s": flops / ms / 1e6,
        "share of the peak": flops / ms / 1e9 / peak,
    }
