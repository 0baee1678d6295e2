"""How fast a transformer of a given size is on this device, with random weights.

A tick denoises `hop` new latent frames in `steps` calls and decodes them. The report has a call's
time and its share of the matrix-product peak measured in the same run, the decoder's time, the
real-time factor of both together, memory, the time to the first frame, and how many such devices
reach real time if they share the steps (runtime/multi_gpu/pipelined.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.random_weights.matmul_peak import peak_tflops
from benchmarks.random_weights.random_model import (
    DTYPES,
    Call,
    WindowSize,
    denoise_flops,
    random_call,
    random_dit,
    randomize,
)
from benchmarks.random_weights.stopwatch import times_ms, wait_for
from runtime.engine.gpu.cuda_graph import GraphedDenoiser, GraphedFunction
from runtime.engine.kinds import weight_precision
from runtime.engine.torch_engine import CompiledBlocks
from runtime.errors import NotFound, Unsupported
from runtime.models.autoencoder.taehv import Taehv, TaehvState
from runtime.models.dit.config import RELEASED, DiTConfig
from runtime.models.dit.dit import DiT
from runtime.models.fp8.matmul import check_device
from runtime.multi_gpu.pipeline_stage import steps_of
from runtime.stream.engines import Denoiser
from runtime.stream.presets import RELEASED_PRESETS, StreamPreset

ENGINES = ("eager", "compiled", "fused")
"""The plain modules; blocks compiled by torch; our own kernels between the matrix products. On a
GPU the last two are replayed as CUDA graphs.
"""

PEAK = "matrix product peak, TFLOP/s"
LATENT_PX = 8  # pixels along each side of a latent of the released model
SIZES = {
    "13b": RELEASED,
    # The release in miniature, so that the command runs anywhere.
    "tiny": replace(
        RELEASED,
        hidden_size=64,
        heads=2,
        double_blocks=2,
        single_blocks=2,
        rope_dims=(8, 12, 12),
        text_dim=32,
        pooled_text_dim=32,
        audio_dim=32,
        audio_hidden=32,
        adapter_dim=32,
    ),
}


@dataclass(frozen=True, slots=True)
class LivePreset:
    """A schedule for a large model that was distilled to few steps, and the picture's size."""

    schedule: StreamPreset
    width_px: int
    height_px: int


PRESETS = {
    "live-512": LivePreset(RELEASED_PRESETS["balanced"], 512, 512),
    "live-384": LivePreset(RELEASED_PRESETS["balanced"], 384, 384),
    "live-720": LivePreset(RELEASED_PRESETS["balanced"], 720, 416),
    "fusion-512": LivePreset(RELEASED_PRESETS["broadcast"], 512, 512),
    # For a machine without a GPU.
    "smoke": LivePreset(StreamPreset("smoke", window=2, hop=1, shift=0, steps=2), 64, 64),
}


@dataclass(frozen=True, slots=True)
class Timing:
    """Measured milliseconds: a denoiser call, a decoded latent frame, the first frame."""

    step: float
    decode: float
    first_frame: float


def run(
    size: str,
    preset: str,
    precision: str,
    engine: str,
    device: torch.device,
    runs: int,
    backend: str = "inductor",
) -> dict[str, Any]:
    """Builds the model on the device and measures it; `backend` is torch.compile's.

    NotFound for names that do not exist, Unsupported if the device cannot do it.
    """
    _check_name("size", size, SIZES)
    _check_name("preset", preset, PRESETS)
    _check_name("precision", precision, DTYPES)
    _check_name("engine", engine, ENGINES)
    check_engine(engine, precision, device)
    config, live = SIZES[size], PRESETS[preset]
    window = _window(live)
    timing, memory_gb = _time_model(config, live, precision, engine, device, runs, backend)
    peak, flops = peak_tflops(device, precision), denoise_flops(config, window)
    return {
        "size": size,
        "preset": f"{preset}: {live.width_px} x {live.height_px}, {live.schedule.window} latent "
        f"frames, {live.schedule.hop} of them new, {live.schedule.steps} steps",
        "precision": precision,
        "engine": engine,
        "tokens": window.tokens(config),
        "TFLOP a step": flops / 1e12,
        PEAK: peak,
        "peak memory, GB": memory_gb,
        **figures(timing, live.schedule, flops, peak),
        "real-time factor by preset": {
            name: real_time_factor(timing, other.schedule)
            for name, other in PRESETS.items()
            if _window(other) == window
        },
    }


def _time_model(
    config: DiTConfig,
    live: LivePreset,
    precision: str,
    engine: str,
    device: torch.device,
    runs: int,
    backend: str,
) -> tuple[Timing, float | None]:
    """The times, and the peak memory in GB. The model is gone when this returns."""
    if weight_precision(precision) == "fp8":
        check_device(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    dit = random_dit(config, device, precision)
    call = random_call(dit, _window(live), device, precision)
    denoiser = _denoiser(dit, engine, precision, device, backend)
    decode = _decode(device, precision, call.x[:, :, :1], engine != "eager")
    timing = measure(denoiser, call, decode, live.schedule, device, runs)
    return timing, _peak_memory_gb(device)


def figures(timing: Timing, schedule: StreamPreset, flops: int, peak: float) -> dict[str, Any]:
    """The figures that follow from the measured times; `flops` of a step, `peak` in TFLOP/s."""
    reached = flops / timing.step / 1e9
    return {
        "ms a step": timing.step,
        "TFLOP/s": reached,
        "share of the peak": reached / peak,
        "decode, ms a latent frame": timing.decode,
        "first frame, ms after its sound": timing.first_frame,
        "real-time factor": real_time_factor(timing, schedule),
        "devices for real time": devices_for_real_time(timing, schedule),
    }


def real_time_factor(timing: Timing, schedule: StreamPreset) -> float:
    """Compute over media time of a tick."""
    return (schedule.steps * timing.step + schedule.hop * timing.decode) / schedule.hop_ms


def devices_for_real_time(timing: Timing, schedule: StreamPreset) -> int | None:
    """The fewest devices that reach real time by sharing the steps; None if no number does."""
    for ranks in range(1, schedule.steps + 2):
        shares = [len(steps_of(rank, ranks, schedule.steps)) for rank in range(ranks)]
        busy_ms = [share * timing.step for share in shares]
        busy_ms[-1] += schedule.hop * timing.decode
        if max(busy_ms) <= schedule.hop_ms:
            return ranks
    return None


def measure(
    denoiser: Denoiser,
    call: Call,
    decode: Callable[[], Tensor],
    schedule: StreamPreset,
    device: torch.device,
    runs: int,
) -> Timing:
    """Times a call, the decoding of one latent frame to bytes on the host, and a first frame."""

    @torch.inference_mode()
    def denoise() -> Tensor:
        return denoiser.denoise(call.x, call.step, call.window)

    def first_frame() -> None:
        for _ in range(schedule.steps):
            denoise()
        decode()

    step = median(times_ms(denoise, device, 3, runs))
    decoded = median(times_ms(decode, device, 3, runs))
    first = median(times_ms(first_frame, device, 1, max(1, runs // schedule.steps)))
    return Timing(step, decoded, first)


def _denoiser(
    dit: DiT, engine: str, precision: str, device: torch.device, backend: str
) -> Denoiser:
    if engine == "eager":
        return dit
    if engine == "compiled":
        denoiser: Denoiser = CompiledBlocks(dit, backend)
    else:
        from runtime.engine.gpu.denoiser import TritonDenoiser

        denoiser = TritonDenoiser(dit, precision == "fp8-attention")
    return GraphedDenoiser(denoiser) if device.type == "cuda" else denoiser


def _decode(
    device: torch.device, precision: str, latent: Tensor, is_recorded: bool
) -> Callable[[], Tensor]:
    """Decodes a latent frame (1, 16, 1, h, w) to I420 on the host."""
    with torch.device("meta"):
        decoder = Taehv()
    randomize(decoder, device, DTYPES[precision])
    decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _, state = decoder.decode_video(latent, decoder.start(*latent.shape[-2:]))

    def work(given: Tensor, before: TaehvState) -> Tensor:
        return decoder.decode_video(given, before, "i420")[0]

    decode = GraphedFunction(work) if is_recorded and device.type == "cuda" else work
    return lambda: decode(latent, state).cpu()


def _window(live: LivePreset) -> WindowSize:
    rows, columns = live.height_px // LATENT_PX, live.width_px // LATENT_PX
    return WindowSize(live.schedule.window, rows, columns)


def device_named(name: str) -> torch.device:
    """The device of that name. Unsupported if CUDA is asked for and there is no GPU."""
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise Unsupported(
            "This machine has no NVIDIA GPU. Run it on one that has, or with --device cpu --size "
            "tiny --preset smoke --engine eager.",
            param="device",
        )
    return device


def _check_name(kind: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise NotFound.among(kind, name, known, param=kind)


def check_engine(engine: str, precision: str, device: torch.device) -> None:
    """Unsupported if the engine lacks that precision or does not run on the device."""
    if precision == "fp8-attention" and engine != "fused":
        raise Unsupported(
            f"The engine {engine} does not attend in FP8. Use --precision fp8 or --engine fused.",
            param="precision",
        )
    if engine == "fused" and device.type != "cuda":
        raise Unsupported(
            f"The engine fused needs an NVIDIA GPU, and the device is {device}. Use --engine eager "
            "or compiled.",
            param="engine",
        )


def _peak_memory_gb(device: torch.device) -> float | None:
    """The most that this process held on the device; None on a CPU."""
    wait_for(device)
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
