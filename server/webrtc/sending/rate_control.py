"""How many bits a second a session sends, from what its client reports of the network.

The delay of the newest packet that arrived tells how much waits in the network; loss that does not
go away with less traffic is not ours. Both come with each receiver report, once or twice a second.
Pure: no clock is read here, `now` is an argument.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum

LOWEST_BPS = 40_000
"""Sound alone, at its lowest bit rate, with the heads of its packets."""
BASE_WINDOW_S = 10.0
"""How long the shortest delay counts as that of an empty network: routes change."""
QUEUE_S = 0.15
"""More waiting than this (and twice the jitter) means that we send too much."""
PAUSE_S = 0.4
"""With more waiting than this, pictures stop until it has drained: sound goes first."""
KEPT_SHARE = 0.85
"""What is sent of what arrived, after too much; as in Google Congestion Control, 2016."""
NEAR_GROWTH, FREE_GROWTH = 0.15, 0.6
"""Growth a second: near the rate that was too much last time, and far from it."""
NEAR = 1.3
CEILING_S = 30.0
LOSS_TOO_MUCH, LOSS_SETTLE_S = 0.10, 1.5
SILENCE_S = 3.0
"""Without a report for so long, the network may be gone."""
DROPPED_ESTIMATE = 0.6
"""A receiver's estimate (REMB) below this share of what is sent needs no second witness."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one receiver report says of one stream, compared with what was sent.

    `waited_s` is the age of the oldest packet that had not arrived, None if all had.
    """

    waited_s: float | None
    lost_share: float
    jitter_s: float
    packets: int


class _Cause(Enum):
    QUEUE = "queue"
    LOSS = "loss"


class RateControl:
    """The total rate, `bps`, heads of packets included: follows the network down and up."""

    def __init__(self, start_bps: int, highest_bps: int) -> None:
        self.bps = float(min(start_bps, highest_bps))
        self.loss = 0.0
        """Smoothed share of packets that do not arrive."""
        self.queue_s = 0.0
        """What waited in the network at the latest report."""
        self.is_paused = False
        """Whether too much waits in the network for pictures."""
        self._highest_bps = highest_bps
        self._waits: deque[tuple[float, float]] = deque()
        self._own_loss = 0.0
        self._ceiling = float("inf")
        self._ceiling_at = 0.0
        self._may_fall_at = 0.0
        self._may_grow_at = 0.0
        self._grown_at = 0.0
        self._trial: tuple[float, float, float] | None = None  # rate before, loss then, its end
        self._is_suspect = False
        self._reported_at: float | None = None

    # ------------------------------------------------------------ what the client tells

    def on_estimate(self, bps: float, sent_bps: float, now: float) -> None:
        """The receiver's own estimate. Its fall is a hint, as its rise is slower than networks."""
        if bps < sent_bps:
            self._is_suspect = True
        if bps < DROPPED_ESTIMATE * sent_bps and now >= self._may_fall_at:
            self._fall(bps, now, _Cause.QUEUE)

    def on_report(self, report: Report, arrived_bps: float, sent_bps: float, now: float) -> None:
        """A receiver report, with what arrived and what was sent in about the last second."""
        self._reported_at = now
        self._note_wait(report, now)
        self._note_loss(report)
        self._end_trial(now)
        margin_s = 2 * report.jitter_s
        limit_s = (QUEUE_S / 3 if self._is_suspect else QUEUE_S) + margin_s
        self._is_suspect = False
        self.is_paused = self.queue_s > (QUEUE_S if self.is_paused else PAUSE_S) + margin_s
        if self.queue_s > limit_s:
            if now >= self._may_fall_at:
                self._fall(arrived_bps, now, _Cause.QUEUE)
            self._may_grow_at = now + 1.0
        elif self._excess_loss > LOSS_TOO_MUCH and self._trial is None:
            if now >= self._may_fall_at:
                self._fall(arrived_bps, now, _Cause.LOSS)
        elif now >= self._may_grow_at and self._excess_loss < LOSS_TOO_MUCH / 3:
            self._grow(sent_bps, now)

    def on_time(self, now: float) -> None:
        """Time passed; called a few times a second."""
        if self._reported_at is not None and now - self._reported_at > SILENCE_S:
            self._reported_at = now - SILENCE_S + 1.0  # again in a second
            self.bps = max(LOWEST_BPS, self.bps / 2)
            self._may_grow_at = now + 1.0

    # ------------------------------------------------------------ delay and loss

    def _note_wait(self, report: Report, now: float) -> None:
        if report.waited_s is None:
            self.queue_s = 0.0
            return
        self._waits.append((now, report.waited_s))
        while now - self._waits[0][0] > BASE_WINDOW_S:
            self._waits.popleft()
        self.queue_s = report.waited_s - min(waited for _, waited in self._waits)

    def _note_loss(self, report: Report) -> None:
        weight = min(0.5, report.packets / 100)
        self.loss += weight * (report.lost_share - self.loss)
        self._own_loss = min(self._own_loss, self.loss)

    @property
    def _excess_loss(self) -> float:
        """Loss beyond what the network loses anyway, with some room for chance."""
        return self.loss - 1.3 * self._own_loss

    def _end_trial(self, now: float) -> None:
        """After less was sent: if as much is lost as before, it was not our traffic."""
        if self._trial is None or now < self._trial[2]:
            return
        before_bps, loss, _ = self._trial
        self._trial = None
        if self.loss > 0.6 * loss:
            self._own_loss = self.loss
            self.bps = before_bps
            self._ceiling = float("inf")

    # ------------------------------------------------------------ down and up

    def _fall(self, arrived_bps: float, now: float, cause: _Cause) -> None:
        before = self.bps
        self.bps = max(LOWEST_BPS, min(self.bps, KEPT_SHARE * arrived_bps))
        self._ceiling, self._ceiling_at = max(arrived_bps, LOWEST_BPS), now
        self._may_fall_at = now + 0.5 + self.queue_s
        self._may_grow_at = now + 1.0
        self._grown_at = self._may_grow_at
        if cause is _Cause.LOSS:
            self._trial = (before, self.loss, now + LOSS_SETTLE_S)
            self._may_grow_at = self._trial[2]

    def _grow(self, sent_bps: float, now: float) -> None:
        passed_s = min(1.2, max(0.0, now - self._grown_at))
        self._grown_at = now
        if now - self._ceiling_at > CEILING_S or self.bps > NEAR * self._ceiling:
            self._ceiling = float("inf")
        growth = FREE_GROWTH if self._ceiling == float("inf") else NEAR_GROWTH
        wanted = self.bps * (1 + growth) ** passed_s
        # What was never sent proves nothing.
        proven = max(self.bps, 2 * sent_bps + 50_000)
        self.bps = min(wanted, proven, self._highest_bps)
