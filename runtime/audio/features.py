"""Speech of a live stream -> the features that a video frame hears.

Latent frame n hears 2 s of sound that end a fixed 82.5 ms after its last video frame. That window
depends on n alone, is cut from the samples as they are and encoded afresh, so how the samples
arrived in chunks cannot change a bit of the result, and nothing but samples is remembered.

The log-mel has Whisper's frequencies (80 Slaney bands, 25 ms Hann windows, 10 ms apart) with a
fixed floor instead of Whisper's "maximum of the clip minus 8": a stream has no maximum, and with a
moving floor silence would become noise. Before sample 0 there is silence.
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
from runtime.errors import BadInput
from runtime.models.audio_encoder import AudioEncoderConfig
from runtime.timing import FRAMES_PER_LATENT, SAMPLE_RATE, SAMPLES_PER_FRAME, SAMPLES_PER_LATENT

N_FFT = 400  # 25 ms
HOP_SAMPLES = 160  # one mel column: 10 ms
STEP_SAMPLES = 2 * HOP_SAMPLES  # one encoder step: 20 ms
STEPS_PER_FRAME = SAMPLES_PER_FRAME // STEP_SAMPLES
FEATURE_STEPS = 10  # a frame k hears encoder steps 2k-4 .. 2k+5, as in the release
STEPS_BEFORE = 4
LOG_FLOOR = 1e-6  # power; white noise of -66 dBFS just touches it

_LAST_STEP = FEATURE_STEPS - STEPS_BEFORE - 1  # of frame 0
_COLUMN_REACH = N_FFT // 2  # samples on both sides of a column's centre
LOOKAHEAD_SAMPLES = (
    (2 * _LAST_STEP + 1) * HOP_SAMPLES + _COLUMN_REACH - SAMPLES_PER_FRAME
)  # 1,320: sound after the end of a latent frame's last video frame that its features contain
CONTEXT_STEPS = 100  # 2 s
WINDOW_SAMPLES = (2 * CONTEXT_STEPS - 1) * HOP_SAMPLES + N_FFT  # 32,240
REWIND_SAMPLES = 4 * SAMPLE_RATE  # how far before the newest request a stream may go back


def needed_samples(latent_index: int) -> int:
    """Samples, counted from 0, that must be there before latent frame n can be heard."""
    return latent_index * SAMPLES_PER_LATENT + SAMPLES_PER_FRAME + LOOKAHEAD_SAMPLES


def ready_latents(samples: int) -> int:
    """How many latent frames, 0 .. result-1, can be heard once `samples` have arrived."""
    return max(0, (samples - needed_samples(0)) // SAMPLES_PER_LATENT + 1)


@dataclass(frozen=True, slots=True, eq=False)
class HeardAudio:
    """What one speaker said: samples [start, stop) of the stream, 16 kHz float32.

    A value: `extend` and `truncate` return new ones, and holding on to an old one is how a stream
    rewinds. The array is never written to once it is here.
    """

    start: int = 0
    pcm: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def stop(self) -> int:
        return self.start + len(self.pcm)


def extend(heard: HeardAudio, pcm: NDArray[np.float32]) -> HeardAudio:
    """`heard` with the next samples at its end. It grows until `forget` is called."""
    return HeardAudio(heard.start, np.concatenate([heard.pcm, np.asarray(pcm, np.float32)]))


def forget(heard: HeardAudio, latent_index: int) -> HeardAudio:
    """`heard` without what no latent frame from n on, nor a rewind of 4 s from there, can hear."""
    oldest = needed_samples(latent_index) - WINDOW_SAMPLES - REWIND_SAMPLES
    surplus = min(max(0, oldest - heard.start), len(heard.pcm))
    if not surplus:
        return heard
    return HeardAudio(heard.start + surplus, heard.pcm[surplus:].copy())


def truncate(heard: HeardAudio, sample: int) -> HeardAudio:
    """`heard` without the samples at and after `sample`: they were never said."""
    if sample >= heard.stop:
        return heard
    if sample < heard.start:
        raise BadInput(
            f"cannot go back to sample {sample}: sound is kept from {heard.start} on. "
            f"Rewind by at most {REWIND_SAMPLES} samples.",
        )
    return HeardAudio(heard.start, heard.pcm[: sample - heard.start].copy())


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


def window_of(heard: HeardAudio, latent_index: int) -> NDArray[np.float32]:
    """The samples (WINDOW_SAMPLES,) that latent frame n hears; zeros before sample 0."""
    stop = needed_samples(latent_index)
    start = stop - WINDOW_SAMPLES
    first = max(0, start)
    if stop > heard.stop or first < heard.start:
        raise BadInput(
            f"latent frame {latent_index} hears samples {first} to {stop}, but {heard.start} to "
            f"{heard.stop} are here. Push the sound first, and ask in order."
        )
    window = np.zeros(WINDOW_SAMPLES, np.float32)
    window[first - start :] = heard.pcm[first - heard.start : stop - heard.start]
    return window


class Encoder(Protocol):
    """Log-mel (B, 80, 2M) to hidden states (B, M, layers + 1, width): an `AudioEncoder`, or an
    engine that does the same.
    """

    @property
    def config(self) -> AudioEncoderConfig: ...

    def __call__(self, mel: Tensor) -> Tensor: ...


class AudioFeatures:
    """Turns heard samples into the (4, 10, layers + 1, width) that one latent frame listens to.

    >>> heard = extend(heard, chunk)
    >>> if heard.stop >= needed_samples(n):
    >>>     sound = features([heard], n)
    """

    def __init__(self, encoder: Encoder) -> None:
        config = encoder.config
        if config.max_steps < CONTEXT_STEPS:
            raise BadInput(
                f"an encoder of max_steps={config.max_steps} is too short for a stream, which "
                f"hears {CONTEXT_STEPS} steps at once. Use a larger one."
            )
        self.encoder = encoder

    @torch.no_grad()
    def __call__(self, heard: Sequence[HeardAudio], latent_index: int) -> Tensor:
        """Features (S, 4, 10, layers + 1, width) of frames 4n-3 .. 4n for S speakers.

        For latent frame 0 only the last row, frame 0, lies in the stream.
        """
        windows = np.stack([window_of(one, latent_index) for one in heard])
        return self.encode(torch.from_numpy(windows))

    def encode(self, windows: Tensor) -> Tensor:
        """Windows (B, WINDOW_SAMPLES) -> features (B, 4, 10, layers + 1, width)."""
        states = self.encoder(log_mel(windows))
        return gather_frames(states, FRAMES_PER_LATENT)


def gather_frames(states: Tensor, frames: int) -> Tensor:
    """The last `frames` video frames of encoder states (B, M, L, D): (B, frames, 10, L, D)."""
    last = states.shape[1] - FEATURE_STEPS
    rows = [
        states[:, last - STEPS_PER_FRAME * back : last - STEPS_PER_FRAME * back + FEATURE_STEPS]
        for back in reversed(range(frames))
    ]
    return torch.stack(rows, dim=1)
