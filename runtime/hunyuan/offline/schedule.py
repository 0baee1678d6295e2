"""The released offline schedule: windows that wrap around the clip, guidance, mask and cache ramps.

Every step covers the whole clip with windows of 33 latent frames, moved back by 10 from step to
step; overlapping results of one step are averaged. Checked against tensors of the official code.
Integers only; no tensors.
"""

from dataclasses import dataclass

from runtime.timing import FRAMES_PER_LATENT

WINDOW = 33  # latent frames of one denoiser call
SHIFT = 10  # latent frames that the windows move back from one step to the next
SHORT_CLIP = 131  # frames of audio features up to which one window without shift is enough
CLIP_BLOCK = 128  # video frames; clips are denoised in whole blocks
EARLY_STEPS = 10  # with the negative prompt, the weaker mask and strong guidance
EARLY_MASK = 0.6
FULL_STEPS = frozenset((*range(16), 20, 25, 30, 35, *range(40, 50)))


@dataclass(frozen=True, slots=True)
class ReleaseWindow:
    """One denoiser call: its latent frames, and the video frames of its audio features."""

    latents: tuple[int, ...]
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReleasePlan:
    """The windows of a clip of `length` latent frames; they and their audio wrap around its end."""

    length: int
    window: int = WINDOW
    shift: int = SHIFT

    @classmethod
    def of_clip(cls, audio_frames: int) -> "ReleasePlan":
        """The plan for a (padded) number of frames of audio features."""
        blocks = audio_frames // CLIP_BLOCK
        if blocks == 1 and audio_frames <= SHORT_CLIP:
            return cls(WINDOW, WINDOW, 0)
        return cls(latents_drawn(audio_frames), WINDOW, SHIFT)

    @property
    def audio_frames(self) -> int:
        """Frames of audio features that the clip is zero-padded to."""
        return FRAMES_PER_LATENT * self.length

    def start_of(self, step: int) -> int:
        """How many latent frames the windows of a step have moved back."""
        return step * self.shift % self.window

    def windows(self, step: int) -> list[ReleaseWindow]:
        """The windows of a step; together they cover every latent frame at least once."""
        starts = [start - self.start_of(step) for start in range(0, self.length, self.window)]
        return [self._window(start) for start in starts]

    def counts(self, step: int) -> list[int]:
        """How many windows of the step cover each latent frame: the divisor of their sum."""
        counts = [0] * self.length
        for window in self.windows(step):
            for latent in window.latents:
                counts[latent] += 1
        return counts

    def _window(self, start: int) -> ReleaseWindow:
        first = FRAMES_PER_LATENT * start
        frames = range(first, first + FRAMES_PER_LATENT * (self.window - 1) + 1)
        return ReleaseWindow(
            tuple(latent % self.length for latent in range(start, start + self.window)),
            tuple(frame % self.audio_frames for frame in frames),
        )


def latents_drawn(audio_frames: int) -> int:
    """Latent frames of noise to draw; a short clip uses the first 33 of 65."""
    return (audio_frames // CLIP_BLOCK + 1) * (WINDOW - 1) + 1


def latents_kept(audio_frames: int) -> int:
    """Latent frames to decode after the last step."""
    return audio_frames // FRAMES_PER_LATENT + 1


def guidance_at(step: int, steps: int, guidance_scale: float) -> float:
    """The guidance weight of a step; from step 10 on a fixed ramp."""
    left = 1 - step / steps
    if guidance_scale <= 1:
        return 1.0
    if step < EARLY_STEPS:
        return left * (guidance_scale - 2) + 2
    return left * (6.5 - 3.5) + 3.5


def mask_factor_at(step: int) -> float:
    """The factor of the face mask, in both guidance branches."""
    return EARLY_MASK if step < EARLY_STEPS else 1.0


def negative_prompt_at(step: int) -> bool:
    """Whether the unconditioned branch gets the negative prompt; later it differs in audio only."""
    return step < EARLY_STEPS


def uses_cache(step: int) -> bool:
    """Whether the step reuses the activations of an earlier one. Steps count from 0."""
    return step not in FULL_STEPS


def feeds_cache(step: int, steps: int) -> bool:
    """Whether the step is computed in full and the next one needs its activations."""
    return not uses_cache(step) and step + 1 < steps and uses_cache(step + 1)
