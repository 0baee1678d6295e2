"""Speech of a live stream to the audio features that condition its latent frames.

    audio = extend(audio, chunk)
    if reaches([audio], needed_samples(n)):
        windows = torch.from_numpy(audio_windows([audio], n))
        features = encode_windows(encoder, windows)

Latent frame n is conditioned on 2 s of audio that end a fixed 82.5 ms after its last video frame.
That window depends on n alone and is always encoded as a whole, so how the samples arrived in
chunks cannot change a bit of the result, and a stream keeps nothing but samples.

The log-mel has Whisper's frequencies (80 Slaney bands, 25 ms Hann windows, 10 ms apart) with a
fixed floor instead of Whisper's "maximum of the clip minus 8": a stream has no maximum, and with a
moving floor silence would turn into noise. Before sample 0 there is silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.audio.mel_filters import slaney_filters
from runtime.audio.windows import (
    CONTEXT_STEPS,
    FEATURE_STEPS,
    HOP_SAMPLES,
    LOG_FLOOR,
    N_FFT,
    REWIND_SAMPLES,
    STEPS_PER_FRAME,
    WINDOW_SAMPLES,
    needed_samples,
)
from runtime.errors import BadInput
from runtime.models.audio_encoder import AudioEncoderConfig
from runtime.timing import FRAMES_PER_LATENT, SAMPLE_RATE


@dataclass(frozen=True, slots=True, eq=False)
class SpeakerAudio:
    """The audio of one speaker: samples [start, stop) of the stream, 16 kHz float32.

    A value: `extend`, `forget` and `truncate` return new ones, and the array is never written to.
    """

    start: int = 0
    pcm: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def stop(self) -> int:
        return self.start + len(self.pcm)


def extend(audio: SpeakerAudio, pcm: NDArray[np.float32]) -> SpeakerAudio:
    """`audio` with the next samples at its end. It grows until `forget` is called."""
    return SpeakerAudio(audio.start, np.concatenate([audio.pcm, np.asarray(pcm, np.float32)]))


def pad_silence(audio: SpeakerAudio, until: int) -> SpeakerAudio:
    """`audio` with silence at its end up to sample `until`; longer audio stays unchanged."""
    missing = until - audio.stop
    return extend(audio, np.zeros(missing, np.float32)) if missing > 0 else audio


def reaches(audio: Sequence[SpeakerAudio], sample: int) -> bool:
    """Does every speaker's audio reach sample `sample`?"""
    return all(one.stop >= sample for one in audio)


def forget(audio: Sequence[SpeakerAudio], oldest_sample: int) -> tuple[SpeakerAudio, ...]:
    """Drop samples before `oldest_sample`, which windows.py gives for a latent frame."""
    return tuple(_from(one, oldest_sample) for one in audio)


def _from(audio: SpeakerAudio, sample: int) -> SpeakerAudio:
    surplus = min(max(0, sample - audio.start), len(audio.pcm))
    if not surplus:
        return audio
    return SpeakerAudio(audio.start + surplus, audio.pcm[surplus:].copy())


def truncate(audio: SpeakerAudio, sample: int) -> SpeakerAudio:
    """`audio` without the samples at and after `sample`."""
    if sample >= audio.stop:
        return audio
    if sample < audio.start:
        raise BadInput(
            f"Cannot rewind to sample {sample}: audio is kept from sample {audio.start} on. "
            f"Rewind by at most {REWIND_SAMPLES} samples.",
        )
    return SpeakerAudio(audio.start, audio.pcm[: sample - audio.start].copy())


def log_mel(pcm: Tensor) -> Tensor:
    """Log-mel (B, 80, C) of C = (N - 240) // 160 columns, silence -1 and loud speech about 1.5.

    `pcm` (B, N) float32. Column c is centred on sample 160c + 200: nothing is padded.
    """
    window = torch.hann_window(N_FFT, dtype=pcm.dtype, device=pcm.device)
    spectrum = torch.fft.rfft(pcm.unfold(-1, N_FFT, HOP_SAMPLES) * window)
    power = spectrum.real.square() + spectrum.imag.square()
    mel = power @ _filters_on(pcm.device, pcm.dtype)
    log: Tensor = (mel.clamp_min(LOG_FLOOR).log10() + 3.0) / 3.0
    return log.transpose(1, 2)


@lru_cache(maxsize=8)
def _filters_on(device: torch.device, dtype: torch.dtype) -> Tensor:
    return slaney_filters(SAMPLE_RATE, N_FFT, 80).to(device, dtype)


def audio_windows(audio: Sequence[SpeakerAudio], latent_index: int) -> NDArray[np.float32]:
    """The samples (S, WINDOW_SAMPLES) that condition latent frame n; zeros before sample 0.

    BadInput if some of them are not there yet, or are forgotten.
    """
    stop = needed_samples(latent_index)
    start = stop - WINDOW_SAMPLES
    first = max(0, start)
    windows = np.zeros((len(audio), WINDOW_SAMPLES), np.float32)
    for window, one in zip(windows, audio, strict=True):
        if stop > one.stop or first < one.start:
            raise BadInput(
                f"Latent frame {latent_index} needs samples {first} to {stop}, but only "
                f"{one.start} to {one.stop} are kept. Push the audio first, and encode latent "
                "frames in order."
            )
        window[first - start :] = one.pcm[first - one.start : stop - one.start]
    return windows


class FeatureEncoder(Protocol):
    """Log-mel (B, 80, 2M) to hidden states (B, M, layers + 1, width): an `AudioEncoder`, or an
    engine that computes the same.
    """

    @property
    def config(self) -> AudioEncoderConfig: ...

    def __call__(self, mel: Tensor) -> Tensor: ...


def check_encoder(encoder: FeatureEncoder) -> None:
    """BadInput if the encoder takes fewer steps than a stream's window has."""
    if encoder.config.max_steps < CONTEXT_STEPS:
        raise BadInput(
            f"An encoder of max_steps={encoder.config.max_steps} is too short for a stream, which "
            f"encodes {CONTEXT_STEPS} steps at once. Use a larger one."
        )


@torch.no_grad()
def encode_windows(encoder: FeatureEncoder, windows: Tensor) -> Tensor:
    """Windows (B, WINDOW_SAMPLES) to the features (B, 4, 10, layers + 1, width) of a latent frame.

    The four are video frames 4n-3 .. 4n; of latent frame 0 only the last one is in the stream.
    """
    return gather_frames(encoder(log_mel(windows)), FRAMES_PER_LATENT)


def gather_frames(states: Tensor, frames: int) -> Tensor:
    """The last `frames` video frames of encoder states (B, M, L, D): (B, frames, 10, L, D)."""
    last = states.shape[1] - FEATURE_STEPS
    rows = [
        states[:, last - STEPS_PER_FRAME * back : last - STEPS_PER_FRAME * back + FEATURE_STEPS]
        for back in reversed(range(frames))
    ]
    return torch.stack(rows, dim=1)
