"""One speaker's lane, played as playout does: ticks place speech, frames leave a little later."""

from collections import deque

import numpy as np

from runtime.timing import OUTPUT_SAMPLES_PER_FRAME, SAMPLES_PER_FRAME
from server.protocol.server_events import ServerEvent
from server.speech.lane import SpeakerLane
from server.speech.pcm import PcmFormat

LEAD_FRAMES = 4


class LanePlayer:
    """A lane with what the model hears (`model`), what is heard (`output`) and its `events`."""

    def __init__(self, buffer_ms: int = 60_000, tick_frames: int = 4) -> None:
        self.events: list[ServerEvent] = []
        self.lane = SpeakerLane("ana", buffer_ms, 240, self.events.append)
        self._tick_frames = tick_frames
        self._waiting: deque[int] = deque()
        self._frames = 0
        self._model: list[np.ndarray] = []
        self._output: list[np.ndarray] = []

    def say(self, data: bytes, pcm: PcmFormat, item: str | None = None) -> None:
        """One whole item."""
        self.lane.append(data, item, pcm)
        self.lane.commit(item)

    def tick(self) -> None:
        """Place the speech of one tick, and play the frames before it."""
        for _ in range(self._tick_frames):
            self._waiting.append(self._frames)
            self._frames += 1
        self._model += self.lane.advance_to(self._frames * SAMPLES_PER_FRAME)
        while len(self._waiting) > LEAD_FRAMES:
            self._play(self._waiting.popleft())

    def play_out(self) -> "LanePlayer":
        """Tick until all is played, and half a second more."""
        while self.lane.queued_samples:
            self.tick()
        for _ in range(5):
            self.tick()
        return self

    def _play(self, frame: int) -> None:
        sound = np.zeros(OUTPUT_SAMPLES_PER_FRAME, np.float32)
        self.lane.mix_into(sound, frame)
        self._output.append(sound)
        self.lane.frame_left(frame, frame * 40)

    @property
    def model(self) -> np.ndarray:
        return np.concatenate(self._model)

    @property
    def output(self) -> np.ndarray:
        """What was heard, from its first sample to its last."""
        sound = np.concatenate(self._output)
        heard = np.flatnonzero(sound)
        return sound[heard[0] : heard[-1] + 1] if len(heard) else sound[:0]

    def of(self, kind: type[ServerEvent]) -> list[ServerEvent]:
        return [event for event in self.events if type(event) is kind]
