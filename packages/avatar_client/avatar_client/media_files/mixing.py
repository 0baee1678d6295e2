"""Channels mixed to one, as loud as the loudest of them.

The channels are added, and the sum is scaled to the peak of the loudest channel if it exceeds it.
So a voice in one channel of two, or in the centre of six, keeps its loudness, and a voice in both
channels does too. If the channels cancel each other, the strongest is taken alone.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

CANCELLED = 0.01  # the sum's energy over the strongest channel's: 20 dB below


@dataclass(slots=True)
class _Level:
    """Of all frames with one number of channels."""

    peaks: NDArray[np.float64]
    energies: NDArray[np.float64]
    sum_peak: float = 0.0
    sum_energy: float = 0.0


@dataclass(slots=True)
class ChannelLevels:
    """Peaks and energies of a file's channels and of their sum."""

    _levels: dict[int, _Level] = field(default_factory=dict)

    @property
    def is_used(self) -> bool:
        return bool(self._levels)

    def add(self, channels: Samples) -> None:
        """Take in a frame (C, N)."""
        count = len(channels)
        level = self._levels.get(count)
        if level is None:
            level = self._levels[count] = _Level(np.zeros(count), np.zeros(count))
        if not channels.size:
            return
        added = channels.sum(axis=0, dtype=np.float64)
        level.peaks = np.maximum(level.peaks, np.abs(channels).max(axis=1))
        level.energies += np.square(channels, dtype=np.float64).sum(axis=1)
        level.sum_peak = max(level.sum_peak, float(np.abs(added).max()))
        level.sum_energy += float(np.square(added).sum())

    def weights(self, count: int) -> NDArray[np.float64]:
        """The factor (C,) of each of `count` channels."""
        level = self._levels.get(count)
        if level is None or not level.energies.any():
            return np.full(count, 1 / count)
        if level.sum_energy < CANCELLED * level.energies.max():
            return np.asarray(np.eye(count)[int(level.energies.argmax())])
        return np.full(count, min(1.0, float(level.peaks.max()) / level.sum_peak))


def mixed(channels: Samples, levels: ChannelLevels) -> Samples:
    """One channel (N,) of a frame (C, N) of the file that `levels` has taken in."""
    if len(channels) == 1:
        return np.asarray(channels[0])
    return np.asarray(levels.weights(len(channels)) @ channels, np.float32)
