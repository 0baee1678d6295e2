"""Presets: named compromises between latency, lag and compute."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import NotFound
from runtime.stream.schedule import WindowPlan
from runtime.timing import FRAMES_PER_LATENT, VIDEO_FPS

LATENT_MS = 1000 * FRAMES_PER_LATENT // VIDEO_FPS


@dataclass(frozen=True, slots=True)
class StreamPreset:
    """A window schedule (counts of latent frames) and a noise schedule.

    `flow_shift` bends the noise levels towards the noisy end; 1 spaces them evenly
    (flow_matching.py).
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
        """Duration of the video that one tick adds."""
        return self.hop * LATENT_MS

    @property
    def lag_ms(self) -> int:
        """Media time from the newest audio of a tick back to the newest final frame."""
        return self.plan.lag * LATENT_MS


PRESETS = {
    preset.name: preset
    for preset in (
        # Context from the past only: no lag, a tick's frames reach to its newest audio.
        StreamPreset("interactive", window=2, hop=1, shift=0, steps=2),
        # Two latent frames a tick, one of context: saves a quarter of the work.
        StreamPreset("balanced", window=3, hop=2, shift=0, steps=2),
        # The paper's fusion, made causal: no repeated work, one latent frame of lag.
        StreamPreset("broadcast", window=3, hop=3, shift=1, steps=2),
    )
}

# For a model of the released size, distilled to four steps: windows of 33 video frames.
RELEASED_PRESETS = {
    preset.name: preset
    for preset in (
        StreamPreset("interactive", window=9, hop=4, shift=0, steps=4, flow_shift=5.0),
        # 28 new frames a window, as in SoulX-FlashTalk (arXiv 2512.23379).
        StreamPreset("balanced", window=9, hop=7, shift=0, steps=4, flow_shift=5.0),
        StreamPreset("broadcast", window=9, hop=9, shift=1, steps=4, flow_shift=5.0),
    )
}


def is_released(folder: Path | None) -> bool:
    """Does the folder have a released model? A folder of our own format has dit.json."""
    return folder is not None and not (folder / "dit.json").exists()


def presets_of(folder: Path | None) -> Mapping[str, StreamPreset]:
    """The presets of the model in a folder, by name; None is the built-in model."""
    return RELEASED_PRESETS if is_released(folder) else PRESETS


def find_preset(name: str, presets: Mapping[str, StreamPreset] = PRESETS) -> StreamPreset:
    """The preset of that name, or NotFound listing the names."""
    if name not in presets:
        raise NotFound.among("preset", name, presets, param="preset")
    return presets[name]
