"""Named trades between latency, lag and compute."""

from dataclasses import dataclass

from runtime.errors import NotFound
from runtime.timing import FRAMES_PER_LATENT, VIDEO_FPS
from runtime.window_plan import WindowPlan

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
        StreamPreset("interactive", window=3, hop=1, shift=0, steps=2),
        # Two latent frames a tick: two thirds of the work saved on context.
        StreamPreset("balanced", window=3, hop=2, shift=0, steps=3),
        # The paper's fusion made causal: nothing is computed twice, two latent frames of lag.
        StreamPreset("broadcast", window=3, hop=3, shift=1, steps=3),
    )
}


def find_preset(name: str) -> StreamPreset:
    """The preset of that name, or NotFound listing the names."""
    if name not in PRESETS:
        raise NotFound.among("preset", name, PRESETS, param="preset")
    return PRESETS[name]
