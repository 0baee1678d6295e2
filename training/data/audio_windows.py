"""Synthetic tracks, cut into the windows of sound that a stream encodes, with their mouths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from runtime.audio.windows import LOOKAHEAD_SAMPLES, WINDOW_SAMPLES
from runtime.timing import FRAMES_PER_LATENT, SAMPLES_PER_FRAME
from training.voices.catalogue import Engines
from training.voices.mouth_curves import MOUTH_COLUMNS
from training.voices.sentences import Split
from training.voices.speech import augment, make_track

TRACK_SECONDS = 20.0
Array = NDArray[np.float32]
Condition = Literal["clean", "noisy", "flite"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows pcm (B, WINDOW_SAMPLES) and mouths (B, F, 6) of their last F frames."""

    pcm: Tensor
    mouth: Tensor


def window_ending_with(pcm: Array, frame: int) -> Array:
    """The window (WINDOW_SAMPLES,) that a stream encodes if `frame` ends a latent frame.

    Before and after the track there are zeros, as there is silence in a stream.
    """
    stop = (frame + 1) * SAMPLES_PER_FRAME + LOOKAHEAD_SAMPLES
    start = stop - WINDOW_SAMPLES
    window = np.zeros(WINDOW_SAMPLES, np.float32)
    inside = pcm[max(0, start) : stop]
    window[max(0, -start) : max(0, -start) + len(inside)] = inside
    return window


def windows_of_track(pcm: Array) -> Array:
    """All windows (n, WINDOW_SAMPLES) of a track; window i is for frames 4i .. 4i+3."""
    latents = len(pcm) // SAMPLES_PER_FRAME // FRAMES_PER_LATENT
    ends = [FRAMES_PER_LATENT * (i + 1) - 1 for i in range(latents)]
    return np.stack([window_ending_with(pcm, end) for end in ends])


def mouths_ending_with(mouth: Array, frame: int, frames: int) -> Array:
    """Rows (frames, 6) up to `frame`; the mouth is closed before the track."""
    rows = np.zeros((frames, len(MOUTH_COLUMNS)), np.float32)
    known = mouth[max(0, frame + 1 - frames) : frame + 1]
    rows[frames - len(known) :] = known
    return rows


@dataclass
class TrackPool:
    """Synthetic tracks to train on: each clean and through two random microphones and rooms.

    The pool grows to `capacity` tracks; then new ones replace the oldest.
    """

    capacity: int
    split: Split = "train"
    tracks: list[tuple[Array, Array]] = field(default_factory=list)

    def refresh(self, rng: Generator) -> None:
        """Add one new track in three versions."""
        pcm, mouth = make_track(rng, TRACK_SECONDS, self.split)
        self.tracks += [(pcm, mouth), (augment(pcm, rng), mouth), (augment(pcm, rng), mouth)]
        del self.tracks[: -self.capacity]

    def fill(self, rng: Generator, tracks: int) -> None:
        while len(self.tracks) < tracks:
            self.refresh(rng)

    def batch(self, rng: Generator, windows: int, frames: int) -> Batch:
        """Random windows of random tracks, with the level changed by up to 8 dB."""
        pcms, mouths = [], []
        for _ in range(windows):
            pcm, mouth = self.tracks[int(rng.integers(len(self.tracks)))]
            end = int(rng.integers(3, len(mouth)))
            gain = np.float32(10.0 ** (rng.uniform(-8.0, 8.0) / 20.0))
            pcms.append(np.clip(window_ending_with(pcm, end) * gain, -1.0, 1.0))
            mouths.append(mouths_ending_with(mouth, end, frames))
        return Batch(torch.from_numpy(np.stack(pcms)), torch.from_numpy(np.stack(mouths)))


def held_out_tracks(condition: Condition, seed: int, tracks: int) -> Iterator[tuple[Array, Array]]:
    """Tracks of voices and texts outside the training set; equal arguments give equal tracks."""
    rng = np.random.default_rng([seed, ("clean", "noisy", "flite").index(condition)])
    for _ in range(tracks):
        engines: Engines = "flite" if condition == "flite" else "all"
        pcm, mouth = make_track(rng, TRACK_SECONDS, "test", engines=engines)
        yield (augment(pcm, rng) if condition == "noisy" else pcm), mouth
