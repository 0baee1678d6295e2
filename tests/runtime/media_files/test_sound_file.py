from pathlib import Path

import av
import numpy as np
import pytest

from runtime.errors import BadInput
from runtime.media_files.sound_file import read_sound
from tests.support.wav_files import tone, write_wav


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_any_rate_arrives_at_the_asked_one(tmp_path: Path, rate: int) -> None:
    heard = read_sound(write_wav(tmp_path / "a.wav", tone(1.0, rate), rate), 16_000)
    assert heard.dtype == np.float32
    assert abs(len(heard) - 16_000) < 40
    np.testing.assert_allclose(heard[2000:14_000], tone(1.0, 16_000)[2000:14_000], atol=0.02)


@pytest.mark.fault("odd-sound")
def test_a_voice_in_one_channel_of_two_keeps_its_loudness(tmp_path: Path) -> None:
    """A voice in one channel of two keeps its loudness."""
    both = np.stack([tone(0.5, 16_000), np.zeros(8000)], axis=1).reshape(-1)
    heard = read_sound(write_wav(tmp_path / "a.wav", both, 16_000, channels=2), 16_000)
    np.testing.assert_allclose(heard[100:7900], tone(0.5, 16_000)[100:7900], atol=0.001)


def test_compressed_sound_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.ogg"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        samples = (tone(1.0, 48_000) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert abs(len(read_sound(file, 16_000)) - 16_000) < 1000


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "cannot be read"), (b"no sound at all" * 50, "cannot be read")]
)
def test_what_is_no_sound_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        read_sound(file, 16_000)


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no sound file .*gone\.wav.*Check the path"):
        read_sound(tmp_path / "gone.wav", 16_000)
    with pytest.raises(BadInput, match="no samples"):
        read_sound(write_wav(tmp_path / "e.wav", np.zeros(0), 16_000), 16_000)
