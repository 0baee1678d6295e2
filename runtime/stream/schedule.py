"""The streaming schedule: which latent frames each denoiser call sees and updates.

The paper's position-shift windows (Algorithm 1), made causal. A tick at position `at` (the first
tick is at 0, the next at `hop`, and so on) calls the denoiser once for each step
k = 0 .. steps - 1, in order:

    updated(at, k) = [at - k*shift,                at + hop - k*shift)   from noise level k to k + 1
    window(at, k)  = [at + hop - k*shift - window, at + hop - k*shift)   what the denoiser sees

The latent frames of the window before the updated ones are context at the same noise level. Those
below 0 are the pre-roll: the reference image, noised to level k. Integers only; no tensors.
"""

from dataclasses import dataclass

from runtime.audio.windows import needed_samples
from runtime.errors import BadInput


@dataclass(frozen=True, slots=True)
class StepWindow:
    """One denoiser call: the latent frames that it sees, and the last of them, which it updates."""

    window: range
    updated: range


@dataclass(frozen=True, slots=True)
class TickPlan:
    """All that the tick at position `at` reads and updates."""

    at: int
    steps: tuple[StepWindow, ...]
    audio: range  # latent frames whose audio its windows contain; none is later
    final_before: int  # after the tick, all latent frames below this one are final
    needed_samples: int  # of every speaker, counted from sample 0 of the stream
    reach: int  # no tick at `at` or later sees a latent frame below `at - reach`


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
        """Latent frames from the newest one with audio back to the newest final one."""
        return (self.steps - 1) * self.shift

    def tick(self, at: int) -> TickPlan:
        """The plan of the tick at `at`: a multiple of `hop` after 0 or after a rewind's target."""
        stops = [at + self.hop - step * self.shift for step in range(self.steps)]
        oldest = stops[-1] - self.window
        return TickPlan(
            at,
            tuple(
                StepWindow(range(stop - self.window, stop), range(stop - self.hop, stop))
                for stop in stops
            ),
            audio=range(max(0, oldest), at + self.hop),
            final_before=stops[-1],
            needed_samples=needed_samples(at + self.hop - 1),
            reach=at - oldest,
        )
