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
BEGIN_S, FIRST_BASE_S = 3.0, 0.1
"""While a session begins, its network may be full from the first packet on."""
OVERLOADED = 0.75
"""If less than this share of what is sent arrives, something waits."""
QUEUE_S = 0.15
"""More waiting than this (and twice the jitter) means that we send too much."""
PAUSE_S = 0.4
"""With more waiting than this, pictures stop until it has drained: sound goes first."""
DRAINING_S = 0.02
KEPT_SHARE = 0.85
"""What is sent of what arrived, after too much; as in Google Congestion Control, 2016."""
NEAR_GROWTH, FREE_GROWTH, FIRST_GROWTH = 0.15, 0.4, 1.0
"""Growth a second: near the rate that was too much last time, far from it, and before any was."""
PROVEN, PROVEN_QUEUE_S = 1.2, 0.04
"""So far beyond that rate without a queue, the network carries more than it did."""
CEILING_S = 30.0
OWN_LOSS_SHARE = 0.1
"""How much of the loss without a queue is taken, at each report, for the network's own."""
LOSS_TOO_MUCH, LOSS_SETTLE_S = 0.10, 1.5
SILENCE_S = 3.0
"""Without a report for so long, the network may be gone."""
DROPPED_ESTIMATE = 0.6
"""A receiver's estimate (REMB) below this share of what is sent needs no second witness."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one receiver report says of one stream, compared with what was sent.

    `waited_s` is the age of the oldest packet that had not arrived, 0 if all had, None if the
    report says nothing new of it; `way_s` is the age of the newest that had.
    """

    waited_s: float | None
    way_s: float
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
        self._ways: deque[tuple[float, float]] = deque()
        self._own_loss = 0.0
        self._ceiling = float("inf")
        self._ceiling_at = 0.0
        self._has_fallen = False
        self._may_fall_at = 0.0
        self._may_grow_at = 0.0
        self._grown_at = 0.0
        self._trial: tuple[float, float, float] | None = None  # rate before, loss then, its end
        self._began_at: float | None = None
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
        queue_before_s = self.queue_s
        is_overloaded = 0 < arrived_bps < OVERLOADED * sent_bps
        self._note_wait(report, is_overloaded, now)
        self._note_loss(report)
        self._end_trial(now)
        margin_s = 2 * report.jitter_s
        limit_s = (QUEUE_S / 3 if self._is_suspect else QUEUE_S) + margin_s
        self._is_suspect = False
        self.is_paused = self.queue_s > (QUEUE_S if self.is_paused else PAUSE_S) + margin_s
        if self.queue_s > limit_s:
            is_draining = self.queue_s < queue_before_s - DRAINING_S
            is_news = report.waited_s is not None and not is_draining
            if is_news and now >= self._may_fall_at:
                self._fall(arrived_bps, now, _Cause.QUEUE)
            self._may_grow_at = now + 1.0
        elif self._excess_loss > LOSS_TOO_MUCH and self._trial is None:
            if now >= self._may_fall_at:
                self._fall(arrived_bps, now, _Cause.LOSS)
        elif now >= self._may_grow_at and self._excess_loss < LOSS_TOO_MUCH / 2:
            self._grow(sent_bps, now)

    def on_time(self, now: float) -> None:
        """Time passed; called a few times a second."""
        if self._reported_at is not None and now - self._reported_at > SILENCE_S:
            self._reported_at = now - SILENCE_S + 1.0  # again in a second
            self.bps = max(LOWEST_BPS, self.bps / 2)
            self._may_grow_at = now + 1.0

    # ------------------------------------------------------------ delay and loss

    def _note_wait(self, report: Report, is_overloaded: bool, now: float) -> None:
        if not report.waited_s:
            self.queue_s = self.queue_s if report.waited_s is None else 0.0
            return
        self._ways.append((now, report.way_s))
        self._began_at = now if self._began_at is None else self._began_at
        while now - self._ways[0][0] > BASE_WINDOW_S:
            self._ways.popleft()
        base_s = min(way for _, way in self._ways)
        if is_overloaded and now - self._began_at < BEGIN_S:
            base_s = min(base_s, FIRST_BASE_S)  # it was full from the start
        self.queue_s = max(0.0, report.waited_s - base_s)

    def _note_loss(self, report: Report) -> None:
        weight = min(0.5, report.packets / 100)
        self.loss += weight * (report.lost_share - self.loss)
        without_queue = OWN_LOSS_SHARE if self.queue_s < PROVEN_QUEUE_S else 0.0
        self._own_loss += without_queue * (self.loss - self._own_loss)
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
        before, self._has_fallen = self.bps, True
        arrived_bps = arrived_bps or before / 2
        self.bps = max(LOWEST_BPS, min(self.bps, KEPT_SHARE * arrived_bps))
        # So much too much has filled the network: pictures wait until it has drained.
        self.is_paused |= cause is _Cause.QUEUE and self.bps < before / 2
        self._ceiling, self._ceiling_at = max(arrived_bps, LOWEST_BPS), now
        self._may_fall_at = now + 0.5 + self.queue_s
        self._may_grow_at = now + 1.0
        self._grown_at = self._may_grow_at
        if cause is _Cause.LOSS:
            self._trial = (before, self.loss, now + LOSS_SETTLE_S)
            self._may_grow_at = self._trial[2]

    @property
    def _is_proven(self) -> bool:
        return self.bps > PROVEN * self._ceiling and self.queue_s < PROVEN_QUEUE_S

    def _grow(self, sent_bps: float, now: float) -> None:
        passed_s = min(1.2, max(0.0, now - self._grown_at))
        self._grown_at = now
        if now - self._ceiling_at > CEILING_S or self._is_proven:
            self._ceiling = float("inf")
        growth = FREE_GROWTH if self._ceiling == float("inf") else NEAR_GROWTH
        growth = growth if self._has_fallen else FIRST_GROWTH
        wanted = self.bps * (1 + growth) ** passed_s
        # What was never sent proves nothing.
        proven = max(self.bps, 2 * sent_bps + 50_000)
        self.bps = min(wanted, proven, self._highest_bps)
