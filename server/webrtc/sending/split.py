"""How a session's bits are shared: sound first, then retransmissions, then pictures."""

from dataclasses import dataclass

from runtime.timing import VIDEO_FPS
from server.webrtc.sending.rate_control import RateControl

PACKET_HEAD_BYTES = 62
"""IP, UDP, RTP, its extensions, and the tag of SRTP."""
SOUND_PACKETS = 50  # a second
SOUND_BPS = (64_000, 32_000, 16_000)
SOUND_NEEDS_BPS = (250_000, 130_000, 0)
"""The total rate from which each sound bit rate is used."""
FEC_FROM_LOSS = 0.02
VIDEO_BPS = (
    *(2_000_000, 1_400_000, 1_000_000, 700_000, 500_000, 350_000, 250_000, 180_000, 130_000),
    *(90_000, 65_000, 45_000, 32_000, 22_000, 15_000, 10_000, 6_000, 4_000),
)
"""Coarse steps: each new one costs a key frame."""
EVERY = (1, 2, 3, 5, 10, 25)
"""One picture of so many slots is sent."""
LEAST_BITS_PER_PIXEL = 0.018
"""Below it VP8 at its worst quantizer (63) overshoots: measured on talking heads of 256 pixels."""
RETRANSMITTED_SHARE = 0.3
STEP_UP = 1.15
"""A better step needs so much more than it takes, so that nothing flaps."""


@dataclass(frozen=True, slots=True)
class Split:
    """What each stream may use; `every` is 0 for sound alone."""

    sound_bps: int
    has_fec: bool
    video_bps: int
    every: int

    @property
    def is_full(self) -> bool:
        """Whether a viewer gets every picture, and sound that shows no lack of bits."""
        return self.every == 1 and self.sound_bps > SOUND_BPS[-1]


FULL = Split(SOUND_BPS[0], False, VIDEO_BPS[0], 1)


def split(rate: RateControl, pixels: int, before: Split = FULL) -> Split:
    """Share the rate; `pixels` is the size of a picture, `before` the split until now."""
    sound = _sound(rate.bps, before.sound_bps)
    has_fec = rate.loss > FEC_FROM_LOSS * (0.5 if before.has_fec else 1.0)
    left = rate.bps * (1 - min(RETRANSMITTED_SHARE, rate.loss))
    left -= sound + SOUND_PACKETS * PACKET_HEAD_BYTES * 8
    every = 0 if rate.is_paused else _every(left, pixels, before.every)
    if not every:
        return Split(sound, has_fec, before.video_bps, 0)
    video = _video(left - VIDEO_FPS / every * PACKET_HEAD_BYTES * 8, before.video_bps)
    return Split(sound, has_fec, video, every)


def _sound(total_bps: float, before: int) -> int:
    for bps, needs in zip(SOUND_BPS, SOUND_NEEDS_BPS, strict=True):
        if total_bps >= needs * (STEP_UP if bps > before else 1.0):
            return bps
    return SOUND_BPS[-1]


def _every(left_bps: float, pixels: int, before: int) -> int:
    """The densest pictures that the bits are enough for; 0 if there are none."""
    for every in EVERY:
        fps = VIDEO_FPS / every
        needs = fps * (max(LEAST_BITS_PER_PIXEL * pixels, 600) + PACKET_HEAD_BYTES * 8)
        if left_bps >= needs * (STEP_UP if not before or every < before else 1.0):
            return every
    return 0


def _video(left_bps: float, before: int) -> int:
    for bps in VIDEO_BPS:
        if left_bps >= bps * (STEP_UP if bps > before else 1.0):
            return bps
    return VIDEO_BPS[-1]
