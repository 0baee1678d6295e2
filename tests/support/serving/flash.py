"""A generator that can be timed exactly: white while its sound is loud. No model, no torch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from runtime.character.character import Character
from runtime.character.registry import CharacterRegistry
from runtime.timing import SAMPLES_PER_FRAME
from runtime.values import Frame
from server.generation.interface import CallTimes, Generator, StreamRequest, StreamTimes

HOP_FRAMES = 4
LOOKAHEAD = 1320


KEPT_FRAMES = 50


class FlashGenerator:
    """A picture that is white exactly while the sound of its 40 ms is loud, dark otherwise."""

    def __init__(self, character: Character, fail_at: int | None = None) -> None:
        self._sound = {each: np.zeros(0, np.float32) for each in character.speaker_ids}
        self._start = 0  # the sample that the kept sound begins with
        self._next = 0
        self._fail_at = fail_at

    @property
    def needed_samples(self) -> int:
        return (self._next + HOP_FRAMES) * SAMPLES_PER_FRAME + LOOKAHEAD

    def push(self, speaker: str, pcm: np.ndarray) -> None:
        self._sound[speaker] = np.concatenate([self._sound[speaker], pcm])

    def fill_silence(self, speaker: str, until: int) -> None:
        missing = max(0, until - self._start - len(self._sound[speaker]))
        self.push(speaker, np.zeros(missing, np.float32))

    def begin_tick(self, is_cancelled: Callable[[], bool]) -> list[Frame]:
        if self._fail_at is not None and self._next >= self._fail_at:
            raise FloatingPointError("NaN latents")
        assert all(len(one) + self._start >= self.needed_samples for one in self._sound.values())
        frames = [Frame(k, self._picture(k)) for k in range(self._next, self._next + HOP_FRAMES)]
        self._next += HOP_FRAMES
        self._forget()
        return frames

    @property
    def stage_ms(self) -> dict[str, float]:
        return {"flash": 0.1}

    def _picture(self, frame: int) -> np.ndarray:
        first = frame * SAMPLES_PER_FRAME - self._start
        part = slice(first, first + SAMPLES_PER_FRAME)
        loud = any(np.abs(sound[part]).max() > 0.2 for sound in self._sound.values())
        return np.full((64, 64, 3), 235 if loud else 40, np.uint8)

    def _forget(self) -> None:
        surplus = (self._next - KEPT_FRAMES) * SAMPLES_PER_FRAME - self._start
        if surplus > 0:
            self._sound = {each: one[surplus:] for each, one in self._sound.items()}
            self._start += surplus

    def resume_frame(self, frame: int) -> int:
        return -(-frame // HOP_FRAMES) * HOP_FRAMES

    def rewind(self, frame: int, clear: frozenset[str]) -> None:
        self._next = self.resume_frame(frame)
        end = frame * SAMPLES_PER_FRAME
        for speaker in clear:
            self._sound[speaker] = self._sound[speaker][: end - self._start]

    def set_emotion(self, speaker: str, name: str, strength: float) -> None:
        raise AssertionError("has no emotions")


class FlashBackend:
    """Real session, playout, tracks and WebRTC around a generator that can be timed exactly."""

    def __init__(self, root: Path, fail_for: str | None = None) -> None:
        self.characters = CharacterRegistry((root,))
        self._fail_for = fail_for

    def load(self) -> CallTimes:
        return CallTimes()

    def times(self, preset: str) -> StreamTimes:
        return StreamTimes(160, 0, 82)

    def close(self) -> None:
        pass

    def has_emotions(self) -> bool:
        return False

    def open(self, request: StreamRequest) -> Generator:
        fails = request.character.id == self._fail_for
        return FlashGenerator(request.character, 40 if fails else None)
