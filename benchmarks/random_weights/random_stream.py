"""A live stream of a model of the released size, with random weights: ticks as a server runs them.

`model_speed.py` measures call by call; here a whole tick runs: audio features, conditioning,
denoising, TAEHV's decoder, and the frames as I420 on the host. Random weights generate noise, but
take as long as trained ones.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.random_weights.model_speed import check_engine
from benchmarks.random_weights.random_model import random_dit, randomize
from benchmarks.random_weights.stopwatch import wait_for
from runtime.audio.features import FeatureEncoder
from runtime.character.character import Character, Speaker
from runtime.character.face_mask import face_masks
from runtime.character.pictures import ReferenceImage
from runtime.engine.choice import open_engines, stream_shape
from runtime.engine.kinds import EngineChoice
from runtime.hunyuan.live.whisper import LiveWhisper
from runtime.models.audio_encoder import AudioEncoder, AudioEncoderConfig
from runtime.models.autoencoder.taehv import LATENT_CHANNELS, Taehv, TaehvState
from runtime.models.dit.config import DiTConfig
from runtime.models.dit.dit import DiT
from runtime.stream.generator import StreamingGenerator
from runtime.stream.model import Prompt
from runtime.stream.presets import StreamPreset
from runtime.values import Box

WARM_UP_TICKS = 3
TEXT_TOKENS = 640  # as in random_model.py
LATENT_PX = 8
WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize")
"""Not cudaDeviceSynchronize: the profiler itself calls it when it ends."""
ALLOCATIONS = ("cudaMalloc", "cudaMallocAsync", "cudaFree", "cudaHostAlloc")


class RandomModulation(nn.Module):
    """Random shifts, scales and gates instead of computed ones."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, activated_vec: Tensor) -> Tensor:
        shape = (len(activated_vec), self.size)
        return 0.3 * torch.randn(shape, device=activated_vec.device, dtype=activated_vec.dtype)


@dataclass(frozen=True, slots=True)
class RandomCodec:
    """Random latents for a reference image; the decoder is TAEHV."""

    decoder: Taehv

    def reference(self, picture: Tensor, latent_frames: int) -> Tensor:
        rows, columns = (side // LATENT_PX for side in picture.shape[2:])
        latent = torch.randn(1, LATENT_CHANNELS, 1, rows, columns, device=picture.device)
        return latent.expand(-1, -1, latent_frames, -1, -1)

    def still(self, picture: Tensor) -> Tensor:
        return self.reference(picture, 1)[:, :, 0]

    def start(self, picture: Tensor) -> TaehvState:
        return self.decoder.start(*(side // LATENT_PX for side in picture.shape[2:]))

    def decode(self, latent: Tensor, state: TaehvState) -> tuple[Tensor, TaehvState]:
        pictures, following = self.decoder.decode(latent, state)
        return pictures.float(), following


@dataclass(frozen=True, slots=True)
class RandomModel:
    """A `StreamModel` that needs no file."""

    dit: DiT
    autoencoder: RandomCodec
    audio_encoder: FeatureEncoder
    prompt: Prompt
    device: torch.device

    @property
    def picture_multiple_px(self) -> int:
        return LATENT_PX * self.dit.config.patch_size[1]

    def prompt_of(self, character: Character) -> Prompt:
        return self.prompt

    def masks_of(self, boxes: Sequence[Box], rows: int, columns: int) -> Tensor:
        return face_masks(boxes, rows, columns)

    def precision(self) -> AbstractContextManager[object]:
        dtype = self.dit.img_in.proj.weight.dtype
        if dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype)


def random_model(config: DiTConfig, device: torch.device, precision: str) -> RandomModel:
    """The transformer without modulation weights, Whisper and TAEHV, with random weights."""
    dit = random_dit(config, device, precision)
    size = config.hidden_size
    for double in dit.double_blocks:
        double.set_submodule("img_mod", RandomModulation(6 * size))
        double.set_submodule("txt_mod", RandomModulation(6 * size))
    for single in dit.single_blocks:
        single.set_submodule("modulation", RandomModulation(3 * size))
    with torch.device("meta"):
        decoder, whisper = Taehv(), AudioEncoder(whisper_config(config))
    narrow = torch.float16 if device.type == "cuda" else torch.float32
    randomize(decoder, device, narrow)
    randomize(whisper, device, torch.float32)
    decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    prompt = Prompt(
        torch.randn(TEXT_TOKENS, config.text_dim, device=device),
        torch.randn(config.pooled_text_dim, device=device),
    )
    return RandomModel(dit, RandomCodec(decoder), LiveWhisper(whisper), prompt, device)


def whisper_config(config: DiTConfig) -> AudioEncoderConfig:
    """An encoder as wide as the transformer's audio input: Whisper tiny for the 13 B model."""
    return AudioEncoderConfig(config.audio_dim, max(2, config.audio_dim // 64), 4, 1500)


@contextmanager
def talking_picture(width: int, height: int) -> Iterator[Character]:
    """A character of that size with one face."""
    with TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        Image.new("RGB", (width, height), "bisque").save(picture)
        face = Speaker("one", "One", Box(0.3, 0.2, 0.4, 0.5))
        image = ReferenceImage.load(picture)
        yield Character("random", "Random", Path(folder), image, (face,))


def run(
    config: DiTConfig,
    preset: StreamPreset,
    size_px: tuple[int, int],
    precision: str,
    engine: str,
    device: torch.device,
    ticks: int,
) -> dict[str, Any]:
    """Ticks of a stream with speech all the time: times, memory, a steady tick's CUDA calls."""
    check_engine(engine, precision, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    model = random_model(config, device, precision)
    with talking_picture(*size_px) as character:
        shape = stream_shape(model, character, preset.window)
        engines = open_engines(EngineChoice(f"torch-{engine}", precision), model, shape)
        stream = StreamingGenerator(model, character, preset, 0, engines=engines, layout="i420")
    first_ms = tick_ms(stream, device)  # includes what is built at the first call
    for _ in range(WARM_UP_TICKS):
        tick_ms(stream, device)
    took = [tick_ms(stream, device) for _ in range(ticks)]
    return {
        "tick, ms: p50": median(took),
        "tick, ms: p95": quantiles(took, n=20)[-1] if len(took) > 1 else took[0],
        "real-time factor": median(took) / preset.hop_ms,
        "first tick with everything built, ms": first_ms,
        "peak memory, GB": memory_gb(device),
        **steady_calls(stream, device),
    }


def tick_ms(stream: StreamingGenerator, device: torch.device) -> float:
    """The time between a tick's sound and its frames on the host."""
    speak(stream)
    wait_for(device)
    start = time.perf_counter()
    stream.tick()
    return (time.perf_counter() - start) * 1e3


def speak(stream: StreamingGenerator) -> None:
    """Push as much noise as the next tick needs."""
    missing = stream.needed_samples - stream.pushed_samples("one")
    noise = np.random.default_rng(0).normal(0, 0.1, max(0, missing))
    stream.push("one", noise.astype(np.float32))


def steady_calls(stream: StreamingGenerator, device: torch.device) -> dict[str, int | None]:
    """How often a tick waits for the device and allocates memory; None on a CPU."""
    if device.type != "cuda":
        return {"waits in a tick": None, "allocations in a tick": None}
    speak(stream)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True) as seen:
        stream.tick()
    calls = Counter(event.name for event in seen.events())
    return {
        "waits in a tick": sum(calls[name] for name in WAITS),
        "allocations in a tick": sum(calls[name] for name in ALLOCATIONS),
    }


def memory_gb(device: torch.device) -> float | None:
    """The most that this process held on the device; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
