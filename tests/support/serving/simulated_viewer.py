"""A session that is sent over a simulated link, in simulated time: minutes in a moment.

What the encoders make is replaced by its size; the sender, its rate and its budgets are real.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from runtime.timing import VIDEO_FPS
from server.config import Webrtc
from server.metrics import Metrics
from server.webrtc.sending.sender import Sender
from tests.support.network.link import HEAD_BYTES, Link

CONTENT_BPS = 230_000
"""What VP8 uses for a talking head of 256 pixels if nothing limits it."""
PAYLOAD = 1_300  # bytes
ON_WIRE = 62 - HEAD_BYTES


@dataclass
class Stream:
    """What the viewer knows of one RTP stream."""

    number: int
    newest: int = -1
    received: int = 0
    before: tuple[int, int] = (0, 0)
    first: int = -1


@dataclass
class SimulatedViewer:
    """Runs a session; `arrivals` are (arrived, sent) of each whole picture and sound packet."""

    down: Link
    up: Link = field(default_factory=lambda: Link(delay_s=0.02))
    content_bps: int = CONTENT_BPS
    pixels: int = 256 * 256
    asks_again: bool = True
    first_number: int = 1_000

    def __post_init__(self) -> None:
        self.now = 100.0
        self.weak: list[tuple[float, bool]] = []
        self.pictures: list[tuple[float, float]] = []
        self.sounds: list[tuple[float, float]] = []
        self.rates: list[tuple[float, float]] = []
        self.sender = Sender(
            Webrtc().video_bitrate,
            Metrics(),
            lambda is_weak: self.weak.append((self.now, is_weak)),
            self.clock,
        )
        self._chance = random.Random(5)
        self._streams = {k: Stream(self.first_number) for k in ("audio", "video")}
        self._kept: dict[tuple[str, int], Callable[[], None]] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._slot = 0
        self._video_bps = 0
        self._at(self.now, self._tick)
        for kind in self._streams:
            self._at(self.now + 1, lambda kind=kind: self._report(kind))

    def clock(self) -> float:
        return self.now

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self._due and self._due[0][0] <= until:
            self.now, _, act = heapq.heappop(self._due)
            act()
        self.now = until

    def _at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (when, next(self._count), act))

    # ------------------------------------------------------------ the server's side

    def _tick(self) -> None:
        """One slot: two packets of sound and perhaps a picture."""
        self.rates.append((self.now, self.sender.rate.bps))
        if self.sender.takes_picture(self._slot, self.pixels):
            self._send_picture()
        for half in (0, 1):
            self._at(self.now + 0.02 * half, self._send_sound)
        self._slot += 1
        self._at(self.now + 1 / VIDEO_FPS, self._tick)

    def _send_sound(self) -> None:
        self._send("audio", self.sender.split.sound_bps // 400, [0, 1, self.now])

    def _send_picture(self) -> None:
        split = self.sender.split
        is_key = split.video_bps != self._video_bps or self.sender.wants_key_frame()
        self._video_bps = split.video_bps
        size = min(split.video_bps, self.content_bps) / 8 / VIDEO_FPS * split.every
        size = int(size * self._chance.uniform(0.6, 1.4))
        if is_key:
            size = 700 + split.video_bps // 110
        self.sender.picture_made(size)
        parts = -(-size // PAYLOAD)
        whole = [0, parts, self.now]
        for part in range(parts):
            self._send("video", min(PAYLOAD, size - part * PAYLOAD), whole)

    def _send(self, kind: str, payload: int, whole: list[float]) -> None:
        stream = self._streams[kind]
        number, stream.number = stream.number, (stream.number + 1) % 2**16
        size = payload + ON_WIRE
        self.sender.packet_left(kind, number, size + HEAD_BYTES)

        def carry() -> None:
            at = self.down.arrival(size, self.now)
            if at is not None:
                self._at(at, lambda: self._arrive(kind, number, whole))

        self._kept[kind, number] = carry
        carry()

    # ------------------------------------------------------------ the viewer's side

    def _arrive(self, kind: str, number: int, whole: list[float]) -> None:
        whole[0] += 1
        if whole[0] == whole[1]:
            (self.sounds if kind == "audio" else self.pictures).append((self.now, whole[2]))
        stream = self._streams[kind]
        if stream.first < 0:
            stream.first = stream.newest = number
        stream.received += 1
        ahead = (number - stream.newest) % 2**16
        if 0 < ahead < 2**15:
            missing = [(stream.newest + n) % 2**16 for n in range(1, ahead)]
            stream.newest = number
            if missing and kind == "video" and self.asks_again:
                self._answer(lambda: self._again(missing))

    def _again(self, missing: list[int]) -> None:
        for number in self.sender.asked_again("video", missing):
            self.sender.again_left(PAYLOAD)
            self._kept["video", number]()

    def _report(self, kind: str) -> None:
        self._at(self.now + self._chance.uniform(0.5, 1.5), lambda: self._report(kind))
        stream = self._streams[kind]
        if stream.first < 0:
            return
        expected = (stream.newest - stream.first) % 2**16 + 1
        wanted, got = expected - stream.before[0], stream.received - stream.before[1]
        stream.before = (expected, stream.received)
        lost = max(0.0, 1 - got / wanted) if wanted > 0 else 0.0
        newest, jitter = stream.newest, int(90 * 1000 * self.down.jitter_s / 3)
        jitter = jitter if kind == "video" else jitter * 48 // 90
        self._answer(lambda: self.sender.reported(kind, newest, lost, jitter))

    def _answer(self, act: Callable[[], None]) -> None:
        at = self.up.arrival(60, self.now)
        if at is not None:
            self._at(at, act)

    # ------------------------------------------------------------ what came

    def pictures_a_second(self, since: float, until: float) -> float:
        shown = sum(since <= at < until for at, _ in self.pictures)
        return shown / (until - since)

    def longest_delay_s(self, came: list[tuple[float, float]], since: float, until: float) -> float:
        """The longest way of those `sounds` or `pictures` that arrived in that time."""
        return max(at - sent for at, sent in came if since <= at < until)
