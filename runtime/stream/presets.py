"""Named trades between latency, lag and compute."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import NotFound
from runtime.stream.schedule import WindowPlan
from runtime.timing import FRAMES_PER_LATENT, VIDEO_FPS

LATENT_MS = 1000 * FRAMES_PER_LATENT // VIDEO_FPS


@dataclass(frozen=True, slots=True)
class StreamPreset:
    """A schedule (counts of latent frames) and the noise schedule that it is run with.

    `flow_shift` bends the noise levels towards the noisy end (1 = evenly spaced), see sampler.py.
    """

    name: str
    window: int
    hop: int
    shift: int
    steps: int
    flow_shift: float = 3.0

    @property
    def plan(self) -> WindowPlan:
        return WindowPlan(self.window, self.hop, self.shift, self.steps)

    @property
    def hop_ms(self) -> int:
        """Media time that one tick adds."""
        return self.hop * LATENT_MS

    @property
    def lag_ms(self) -> int:
        """Media time from the newest sound heard back to the newest final picture."""
        return self.plan.lag * LATENT_MS


PRESETS = {
    preset.name: preset
    for preset in (
        # Context from the past only: no lag, every tick shows what it has just heard.
        StreamPreset("interactive", window=2, hop=1, shift=0, steps=2),
        # Two latent frames a tick, one of context: a quarter of the work saved.
        StreamPreset("balanced", window=3, hop=2, shift=0, steps=2),
        # The paper's fusion made causal: nothing is computed twice, one latent frame of lag.
        StreamPreset("broadcast", window=3, hop=3, shift=1, steps=2),
    )
}

# Of a model of the released size, distilled to four steps: windows of 33 video frames.
RELEASED_PRESETS = {
    preset.name: preset
    for preset in (
        StreamPreset("interactive", window=9, hop=4, shift=0, steps=4, flow_shift=5.0),
        # 28 new frames a window, as SoulX-FlashTalk has them (arXiv 2512.23379).
        StreamPreset("balanced", window=9, hop=7, shift=0, steps=4, flow_shift=5.0),
        StreamPreset("broadcast", window=9, hop=9, shift=1, steps=4, flow_shift=5.0),
    )
}


def is_released(folder: Path | None) -> bool:
    """Does that folder hold a released model, rather than one of our own kind or none?"""
    return folder is not None and not (folder / "dit.json").exists()


def presets_of(folder: Path | None) -> Mapping[str, StreamPreset]:
    """The presets of the model in a folder, by name; None is the built-in model."""
    return RELEASED_PRESETS if is_released(folder) else PRESETS


def find_preset(name: str, presets: Mapping[str, StreamPreset] = PRESETS) -> StreamPreset:
    """The preset of that name, or NotFound listing the names."""
    if name not in presets:
        raise NotFound.among("preset", name, presets, param="preset")
    return presets[name]
