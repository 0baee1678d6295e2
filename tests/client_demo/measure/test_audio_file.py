"""Speech read from files."""

import asyncio
from pathlib import Path

import av
import numpy as np
import pytest

from client_demo.measure.audio_file import (
    AudioFileError,
    SpeechFile,
    at_speaking_pace,
    read_speech,
    sound_onset,
)


def tone(rate: int, seconds: float = 1.0) -> np.ndarray:
    times = np.arange(int(rate * seconds)) / rate
    return (np.sin(2 * np.pi * 440 * times) * 12_000).astype(np.int16)


def write_sound(path: Path, samples: np.ndarray, rate: int, codec: str, layout: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        channels = len(stream.layout.channels)
        packed = np.repeat(samples, channels).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.flac", "flac")])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_any_rate_is_read_at_the_wanted_rate(tmp_path, name, codec, rate):
    path = write_sound(tmp_path / name, tone(rate), rate, codec, "mono")

    speech = read_speech(path, 24_000)

    assert speech.rate == 24_000
    assert abs(len(speech.samples) - 24_000) <= 32
    middle = speech.samples[6_000:18_000].astype(float)
    assert np.corrcoef(middle, tone(24_000)[6_000:18_000].astype(float))[0, 1] > 0.95


def test_stereo_is_mixed_to_mono(tmp_path):
    path = write_sound(tmp_path / "a.wav", tone(16_000), 16_000, "pcm_s16le", "stereo")

    speech = read_speech(path, 16_000)

    assert len(speech.samples) == 16_000
    assert np.max(np.abs(speech.samples - tone(16_000).astype(int))) <= 2


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AudioFileError, match=r"no file .*nobody\.wav"):
        read_speech(tmp_path / "nobody.wav", 16_000)


def test_a_file_that_is_no_sound_says_what_to_give(tmp_path):
    path = tmp_path / "letter.wav"
    path.write_text("dear reader")

    with pytest.raises(AudioFileError, match="cannot be read as sound"):
        read_speech(path, 16_000)


@pytest.mark.parametrize("chunk_ms", [7, 40, 1000, 5000])
def test_chunks_together_are_the_whole_speech(chunk_ms):
    speech = SpeechFile(tone(24_000), 24_000)

    assert b"".join(speech.chunks(chunk_ms)) == speech.samples.tobytes()


def test_the_onset_is_found_after_silence():
    samples = np.concatenate([np.zeros(4_000, np.int16), tone(16_000)])

    assert abs(sound_onset(samples, 16_000) - 4_000) <= 160


def test_silence_has_no_onset():
    assert sound_onset(np.zeros(16_000, np.int16), 16_000) is None


async def test_speaking_pace_gives_no_chunk_before_it_would_have_been_heard():
    speech = SpeechFile(tone(8_000, 0.1), 8_000)
    loop = asyncio.get_running_loop()
    begun = loop.time()

    times = [loop.time() - begun async for _ in at_speaking_pace(speech, chunk_ms=10)]

    assert len(times) == 10
    assert all(at >= (index + 1) * 0.01 - 0.002 for index, at in enumerate(times))
