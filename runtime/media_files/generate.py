"""Sound files to a talking video file: the stream, run as fast as it can."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.errors import BadInput
from runtime.media_files.mp4 import VideoFileWriter
from runtime.media_files.sound_file import read_noted_sound, read_sound
from runtime.stream.generator import StreamingGenerator
from runtime.timing import (
    OUTPUT_RATE,
    OUTPUT_SAMPLES_PER_FRAME,
    SAMPLE_RATE,
    frames_for_samples,
)
from runtime.values import Frame, Samples


@dataclass(frozen=True, slots=True)
class Voices:
    """Each speaker's audio at the model's rate, and their mix at the output rate."""

    by_speaker: Mapping[str, Samples]
    mixed: Samples
    notes: tuple[str, ...] = ()  # sentences for the user on what is odd about a file

    @property
    def frames(self) -> int:
        return max(frames_for_samples(len(pcm)) for pcm in self.by_speaker.values())


def read_voices(files: Mapping[str, Path]) -> Voices:
    """Reads each speaker's file; all start at the same time. BadInput without a file."""
    if not files:
        raise BadInput("There is no sound file. Give one for a speaker.", param="audio")
    played = [read_noted_sound(file, OUTPUT_RATE) for file in files.values()]
    mixed = np.zeros(max(len(sound.samples) for sound in played), np.float32)
    for sound in played:
        mixed[: len(sound.samples)] += sound.samples
    by_speaker = {speaker: read_sound(file, SAMPLE_RATE) for speaker, file in files.items()}
    notes = tuple(note for sound in played for note in sound.notes)
    return Voices(by_speaker, np.clip(mixed, -1, 1), notes)


def talking_frames(stream: StreamingGenerator, voices: Voices) -> Iterator[Frame]:
    """The frames of the talking video, in order."""
    for speaker, pcm in voices.by_speaker.items():
        stream.push(speaker, pcm)
    for speaker in stream.character.speaker_ids:
        stream.fill_silence(speaker, max(map(len, voices.by_speaker.values())))
    while stream.ready():
        yield from stream.tick()
    yield from stream.flush()


def write_talking_video(
    stream: StreamingGenerator,
    voices: Voices,
    out: Path,
    progress: Callable[[int], None] = lambda frames: None,
) -> int:
    """Writes a video and returns its number of frames; calls `progress(1)` after each."""
    image = stream.character.picture
    count = 0
    with VideoFileWriter(out, image.width, image.height) as video:
        for frame in talking_frames(stream, voices):
            start = frame.index * OUTPUT_SAMPLES_PER_FRAME
            video.write(frame.pixels, voices.mixed[start : start + OUTPUT_SAMPLES_PER_FRAME])
            count += 1
            progress(1)
    return count
