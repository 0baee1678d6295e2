"""How one peer's session is sent: the rate, its split, and the bookkeeping of packets."""

import time
from collections.abc import Callable, Iterable

from server.metrics import Metrics
from server.webrtc.sending.rate_control import RateControl, Report
from server.webrtc.sending.requests import KeyFrames, Retransmissions
from server.webrtc.sending.sent_packets import Arrivals, SentPackets, Throughput
from server.webrtc.sending.split import FULL, RETRANSMITTED_SHARE, SOUND_BPS, split

WEAK_AFTER_S, GOOD_AFTER_S = 1.5, 3.0
"""How long a network is weak, or good again, before the client is told."""
CLOCK_HZ = {"audio": 48_000, "video": 90_000}
FIRST_RTT_S = 0.1
RTT_SHARE = 0.2
PAUSES_AFTER_S = 0.3
PAYBACK_S = 0.4
"""Pictures may be ahead of their bit rate by so much; then some are left out."""


class Sender:
    """Decides what leaves. Tracks ask it before each packet; `Feedback` tells it what came back.

    `on_weak(is_weak)` is called if a weak network takes pictures or sound, and when it is over.
    """

    def __init__(
        self,
        video_bps: int,
        metrics: Metrics,
        on_weak: Callable[[bool], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        is_weak: bool = False,
    ) -> None:
        overhead = SOUND_BPS[0] + 40_000
        self.rate = RateControl(video_bps + overhead, max(video_bps, 1_500_000) + overhead)
        self.split = FULL
        self.rtt_s = FIRST_RTT_S
        self.key_frames = KeyFrames()
        self._retransmissions = Retransmissions()
        self._streams = {kind: SentPackets() for kind in CLOCK_HZ}
        self._arrived_until = 0.0
        self._arrivals = Arrivals()
        self._sent = Throughput()
        self._pixels = 0
        self._owed_bits = 0.0
        self._owed_at = 0.0
        self._is_weak = is_weak
        self._differs_since: float | None = None
        self.metrics = metrics
        self._on_weak = on_weak
        self._clock = clock

    def now(self) -> float:
        return self._clock()

    # ------------------------------------------------------------ before a packet

    def takes_picture(self, slot: int, pixels: int) -> bool:
        """Whether the picture of a slot is sent; the split is decided anew here."""
        now = self._clock()
        self._pixels = pixels
        self.rate.on_time(now)
        self.split = split(self.rate, pixels, self.split)
        self._watch(now)
        every = self.split.every
        takes = every > 0 and slot % every == 0 and self._is_paid(now)
        if not takes:
            self.metrics.pictures_left_out.inc()
        return takes

    def picture_made(self, size: int) -> None:
        self._owed_bits += 8 * size

    def wants_key_frame(self) -> bool:
        is_wanted = self.key_frames.take(self._clock())
        if is_wanted:
            self.metrics.key_frames.inc()
        return is_wanted

    def _is_paid(self, now: float) -> bool:
        """Whether the pictures so far are within their bit rate."""
        self._owed_bits -= (now - self._owed_at) * self.split.video_bps
        self._owed_bits, self._owed_at = max(0.0, self._owed_bits), now
        return self._owed_bits <= PAYBACK_S * self.split.video_bps

    def _watch(self, now: float) -> None:
        """Tell of a weak network, and of its end, if it lasts."""
        if self.split.is_full is not self._is_weak:
            self._differs_since = None
            return
        if self._differs_since is None:
            self._differs_since = now
        lasts_s = GOOD_AFTER_S if self._is_weak else WEAK_AFTER_S
        if now - self._differs_since >= lasts_s:
            self._is_weak = not self._is_weak
            self._differs_since = None
            self._on_weak(self._is_weak)

    # ------------------------------------------------------------ what left and what came back

    def packet_left(self, kind: str, number: int, size: int) -> None:
        """A packet of a stream went out; `size` is that on the wire."""
        now = self._clock()
        self._streams[kind].add(number, size, now)
        self._count(size, now)

    def again_left(self, size: int) -> None:
        """A retransmission, or a report of ours, went out."""
        self._count(size, self._clock())

    def _count(self, size: int, now: float) -> None:
        self._arrivals.add(size, now)
        self._sent.add(size, now)

    def reported(self, kind: str, newest: int, lost_share: float, jitter: int) -> None:
        """A receiver report of a stream; `jitter` is in its clock's ticks."""
        now = self._clock()
        arrived = self._streams[kind].arrived(newest)
        if arrived is None:
            return
        sent_at, packets = arrived
        waited_s = self._waited(kind, sent_at, now)
        jitter_s = min(1.0, jitter / CLOCK_HZ[kind])
        report = Report(waited_s, now - sent_at, lost_share, jitter_s, packets)
        if waited_s:
            self.rtt_s += RTT_SHARE * (waited_s - self.rtt_s)
        self._arrivals.note(self._arrived_until, self.rate.loss, now)
        self.rate.on_report(report, self._arrivals.bps, self._sent.bps(now), now)

    def _waited(self, kind: str, sent_at: float, now: float) -> float | None:
        """The age of the oldest packet of a stream that is still on its way, 0 if there is none;
        None if the stream pauses. What was sent before another one that arrived is lost.
        """
        self._arrived_until = max(self._arrived_until, sent_at)
        first = self._streams[kind].first_after(self._arrived_until)
        if first is not None:
            return now - first
        return 0.0 if now - sent_at < PAUSES_AFTER_S else None

    def estimated(self, bps: int) -> None:
        """The receiver's estimate (REMB) of what its network carries."""
        now = self._clock()
        self.rate.on_estimate(bps, self._sent.bps(now), now)

    def asked_again(self, kind: str, numbers: Iterable[int]) -> list[int]:
        """Which of the packets that a client asks for are sent again."""
        before = self._retransmissions.refused
        accepted = self._retransmissions.accept(
            numbers,
            self._streams[kind].size_of,
            self.rtt_s,
            RETRANSMITTED_SHARE * self.rate.bps,
            self._clock(),
        )
        self.metrics.retransmissions.labels(result="sent").inc(len(accepted))
        refused = self._retransmissions.refused - before
        self.metrics.retransmissions.labels(result="over_budget").inc(refused)
        return accepted
