"""The streaming schedule: which latent frames each denoiser call sees and moves.

The paper's position-shift windows (Algorithm 1), made causal. A tick at position `at` (the first
tick is at 0, the next at `hop`, ..) calls the denoiser once for each step k = 0 .. steps-1, in
order:

    moved(at, k)  = [at - k*shift,                at + hop - k*shift)   from level k to level k+1
    window(at, k) = [at + hop - k*shift - window, at + hop - k*shift)   what the denoiser sees

The latent frames of the window before the moved ones are context at the same noise level. Those
below 0 are the pre-roll: the still picture, noised to level k. Integers only; no tensors.
"""

from dataclasses import dataclass

from runtime.errors import BadInput
from runtime.timing import FRAMES_PER_LATENT


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """Counts of latent frames (`window`, `hop`, `shift`) and of denoising `steps`."""

    window: int
    hop: int
    shift: int
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise BadInput(f"steps is {self.steps}; use 1 or more.", param="steps")
        if not 1 <= self.hop <= self.window:
            raise BadInput(
                f"hop is {self.hop} latent frames with a window of {self.window}; "
                f"use 1 <= hop <= window.",
                param="hop",
            )
        if self.shift < 0:
            raise BadInput(f"shift is {self.shift} latent frames; use 0 or more.", param="shift")

    @property
    def lag(self) -> int:
        """Latent frames from the newest one heard back to the newest final one."""
        return (self.steps - 1) * self.shift

    @property
    def cost(self) -> float:
        """Latent frames of denoiser work for each latent frame shown."""
        return self.steps * self.window / self.hop

    def moved(self, at: int, step: int) -> range:
        """Latent frames that the tick at `at` moves from level `step` to `step + 1`."""
        start = at - step * self.shift
        return range(start, start + self.hop)

    def seen(self, at: int, step: int) -> range:
        """Latent frames in the denoiser's window: the moved ones and the context before them."""
        stop = at + self.hop - step * self.shift
        return range(stop - self.window, stop)

    def final_before(self, at: int) -> int:
        """After the tick at `at` all latent frames below this one are final."""
        return at + self.hop - self.lag

    def heard_before(self, at: int) -> int:
        """The tick at `at` hears the audio of latent frames below this one, and no other."""
        return at + self.hop

    def oldest_seen(self, at: int) -> int:
        """No tick at `at` or later sees latent frames below this one."""
        return self.seen(at, self.steps - 1).start


def newest_frames(latents: range, count: int) -> range:
    """The last `count` video frames of those that belong to `latents`: n has 4n-3 .. 4n.

    `DiTConfig.audio_frame_count` says how many a model's windows hear.
    """
    last = FRAMES_PER_LATENT * (latents.stop - 1)
    return range(last + 1 - count, last + 1)
