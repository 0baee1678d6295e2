"""The offset between two received tracks: their RTP timestamps placed on one clock.

aiortc numbers the frames of each received track from 0, so the offset between sound and video is
lost. Two sources give it back:

- The packets of both tracks take one path. Except for delays, the two packets of one instant of
  the stream arrive together, and the least delayed packets show the offset best.
- The sender's RTCP reports pair RTP timestamps with its wall clock (RFC 3550, 6.4.1). Browsers
  use these.

A busy sender's clock may stall for both tracks at once, so tracks are compared at equal times only.
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import median

import numpy as np

WRAP = 1 << 32  # RTP timestamps are 32 bits
MICROSECONDS = 1_000_000
WINDOW_US = 500_000  # the least delayed packet of each such window counts
WINDOWS_KEPT = 240
ENOUGH_WINDOWS = 3
REPORTS_KEPT = 64


@dataclass(slots=True)
class StreamClock:
    """Arrivals and reports of one track with `rate` ticks a second.

    pts 0 is the timestamp of the first packet.
    """

    rate: int
    first_timestamp: int | None = None
    _latest_pts: int = 0
    _offsets_us: dict[int, int] = field(default_factory=dict)  # window -> least arrival minus pts
    _reports: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=REPORTS_KEPT))

    def packet(self, timestamp: int, arrived_us: int) -> None:
        """Note an RTP packet."""
        if self.first_timestamp is None:
            self.first_timestamp = timestamp
        self._latest_pts = self._pts(timestamp)
        offset_us = arrived_us - self._latest_pts * MICROSECONDS // self.rate
        window = arrived_us // WINDOW_US
        self._offsets_us[window] = min(offset_us, self._offsets_us.get(window, offset_us))
        if len(self._offsets_us) > WINDOWS_KEPT:
            del self._offsets_us[min(self._offsets_us)]

    def report(self, ntp: int, timestamp: int) -> None:
        """Note a sender report: wall clock `ntp` (64 bits, 32.32) belongs to RTP `timestamp`."""
        if self.first_timestamp is None:
            return  # no packet yet, so the report has nothing to refer to
        wall_us = (ntp >> 32) * MICROSECONDS + ((ntp & 0xFFFFFFFF) * MICROSECONDS >> 32)
        pts_us = self._pts(timestamp) * MICROSECONDS // self.rate
        self._reports.append((wall_us, wall_us - pts_us))

    def _pts(self, timestamp: int) -> int:
        """Ticks since the first timestamp, unwrapped to the value nearest the latest packet."""
        assert self.first_timestamp is not None
        step = timestamp - self.first_timestamp - self._latest_pts
        return self._latest_pts + (step + WRAP // 2) % WRAP - WRAP // 2


def offset_by_packets_us(audio: StreamClock, video: StreamClock) -> int | None:
    """Microseconds from audio pts 0 to video pts 0, by packet arrivals; None before enough came."""
    common = audio._offsets_us.keys() & video._offsets_us.keys()
    if len(common) < ENOUGH_WINDOWS:
        return None
    return int(median(video._offsets_us[one] - audio._offsets_us[one] for one in common))


def offset_by_reports_us(audio: StreamClock, video: StreamClock) -> int | None:
    """The same by the sender's reports, as browsers see it; None before two of each came."""
    if min(len(audio._reports), len(video._reports)) < 2:
        return None
    at_us, offsets_us = zip(*audio._reports, strict=True)
    video_at_us, video_offsets_us = zip(*video._reports, strict=True)
    video_at_audio_times_us = np.interp(at_us, video_at_us, video_offsets_us)
    return int(np.median(video_at_audio_times_us - np.array(offsets_us)))
