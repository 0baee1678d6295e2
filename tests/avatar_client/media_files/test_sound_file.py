"""Sound files as people have them are read whole, alike and loud enough, or refused by name."""

import wave
from pathlib import Path

import av
import numpy as np
import pytest
from avatar_client.media_files.failure import MediaFileError
from avatar_client.media_files.sound_file import Sound, read_sound

from tests.support.odd_sounds import (
    ALAW,
    EXTENSIBLE,
    FLOAT,
    RATE,
    chunk,
    encoded,
    pcm8,
    pcm16,
    pcm24,
    stereo,
    surround,
    voice,
    wav,
)

VOICE = voice()
STREAMED = 0xFFFFFFFF


@pytest.fixture
def read(tmp_path):
    """Reads a file of the given bytes."""

    def make(content: bytes, name: str = "a.wav") -> Sound:
        file = tmp_path / name
        file.write_bytes(content)
        return read_sound(file, RATE)

    return make


@pytest.mark.fault("containers")
@pytest.mark.parametrize(
    ("content", "tolerance"),
    [
        (wav(pcm16(VOICE)), 0.001),
        (wav(pcm8(VOICE), bits=8), 0.01),
        (wav(pcm24(VOICE), bits=24), 0.001),
        (wav(VOICE.astype("<f4").tobytes(), FLOAT, 32), 0.001),
        (wav(VOICE.astype("<f8").tobytes(), FLOAT, 64), 0.001),
        (wav((VOICE * 2**31).astype("<i4").tobytes(), bits=32), 0.001),
        (wav(pcm16(VOICE), size=0), 0.001),
        (wav(pcm16(VOICE), size=STREAMED), 0.001),
        (wav(pcm16(VOICE), size=0x7FFFFFFF), 0.001),
        (wav(pcm16(VOICE), size=2_000_000_000), 0.001),
        (wav(pcm16(VOICE) + b"\x01"), 0.001),
    ],
)
def test_every_form_of_samples_and_every_streamed_header_is_read(read, content, tolerance):
    """A WAV of any sample format, also with a header that was never finished, is read whole."""
    sound = read(content)
    np.testing.assert_allclose(sound.samples[:RATE], VOICE, atol=tolerance)
    assert sound.notes == ()


@pytest.mark.fault("containers")
@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.mp3", "libmp3lame", 44_100),
        ("a.m4a", "aac", 44_100),
        ("a.aac", "aac", 44_100),
        ("a.ogg", "libopus", 48_000),
        ("a.webm", "libopus", 48_000),
        ("a.flac", "flac", 44_100),
        ("a.aiff", "pcm_s16be", 44_100),
        ("a.au", "pcm_mulaw", 8_000),
        ("a.wav", "pcm_alaw", 8_000),
        ("b.wav", "pcm_mulaw", 8_000),
        ("c.wav", "adpcm_ms", 22_050),
    ],
)
def test_common_formats_are_read(tmp_path, name, codec, rate):
    """Sound files of the common formats are read."""
    sound = read_sound(encoded(tmp_path / name, codec, rate), RATE)
    assert len(sound.samples) / RATE == pytest.approx(1.0, abs=0.12)
    level = np.sqrt(np.mean(np.square(sound.samples[RATE // 4 : RATE // 2])))
    assert level == pytest.approx(0.4 / np.sqrt(2), rel=0.1)


@pytest.mark.fault("containers")
@pytest.mark.parametrize("size", [None, 0, STREAMED])
def test_glued_wavs_are_read_to_the_last(read, size):
    """WAV files glued into one are played to the last, and the user is told."""
    parts = np.split(VOICE, 3)
    sound = read(b"".join(wav(pcm16(part), size=size) for part in parts))
    np.testing.assert_allclose(sound.samples, VOICE, atol=0.001)
    assert "a.wav is 3 WAV files glued together; all of them are played" in sound.notes[0]


@pytest.mark.fault("containers")
def test_glued_wavs_of_several_rates_and_channels_are_read(read):
    """WAV files of different forms glued into one are played to the last."""
    both = stereo(VOICE, VOICE)
    sound = read(wav(pcm16(voice(rate=8_000)), rate=8_000) + both + wav(pcm16(VOICE)))
    assert len(sound.samples) == pytest.approx(3 * RATE, abs=100)
    np.testing.assert_allclose(sound.samples[-RATE:], VOICE, atol=0.05)


@pytest.mark.fault("containers")
def test_bytes_that_no_header_announces_are_told(read):
    """If a header says less than the file holds, the user is told how much."""
    sound = read(wav(pcm16(VOICE), size=RATE))  # half of it
    assert len(sound.samples) == RATE // 2
    assert f"{RATE:,} bytes follow the end that its header gives" in sound.notes[0]


@pytest.mark.parametrize(
    "after",
    [b"", chunk(b"LIST", b"INFOISFT\x0e\0\0\0Lavf58.29.100\0"), chunk(b"id3 ", b"ID3"), b"\0"],
)
def test_chunks_behind_the_samples_are_nothing_odd(read, after):
    assert read(wav(pcm16(VOICE), after=after)).notes == ()


@pytest.mark.fault("odd-sound")
@pytest.mark.parametrize("bits", [32, 64])
def test_values_that_are_no_numbers_are_silence(read, bits):
    """NaN and infinite values of a file are silence, and the user is told."""
    odd = VOICE.copy()
    odd[5000:5100], odd[6000], odd[6001] = np.nan, np.inf, -np.inf
    sound = read(wav(odd.astype(f"<f{bits // 8}").tobytes(), FLOAT, bits))
    assert "a.wav has 102 values that are no numbers" in sound.notes[0]
    assert np.isfinite(sound.samples).all()
    np.testing.assert_array_equal(sound.samples[5000:5100], 0)
    np.testing.assert_allclose(sound.samples[7000:RATE], VOICE[7000:], atol=0.001)


@pytest.mark.fault("odd-sound")
@pytest.mark.parametrize(
    "content",
    [
        stereo(VOICE, np.zeros_like(VOICE)),
        stereo(np.zeros_like(VOICE), VOICE),
        stereo(VOICE, VOICE),
        *(surround(VOICE, channel) for channel in range(6)),
        wav(pcm16(np.repeat(VOICE, 4)), channels=4),
    ],
)
def test_a_voice_keeps_its_loudness_in_whatever_channels_it_is(read, content):
    """A voice in one channel or in all is as loud as in a file of one channel."""
    np.testing.assert_allclose(read(content).samples, VOICE, atol=0.001)


@pytest.mark.fault("odd-sound")
def test_channels_that_cancel_each_other_are_not_silence(read):
    """A voice whose channels cancel each other is heard."""
    np.testing.assert_allclose(
        np.abs(read(stereo(VOICE, -VOICE)).samples), np.abs(VOICE), atol=0.01
    )


@pytest.mark.fault("odd-sound")
def test_two_voices_in_two_channels_are_both_heard_without_clipping(read):
    """Two voices in two channels are both heard."""
    other = 0.8 * np.sin(2 * np.pi * 700 * np.arange(RATE) / RATE)
    heard = read(stereo(VOICE, other)).samples
    spectrum = np.abs(np.fft.rfft(heard)) / (RATE / 2)
    assert spectrum[330] > 0.2
    assert spectrum[700] > 0.4
    assert np.abs(heard).max() <= 0.81


def test_hot_samples_are_clipped(read):
    assert np.abs(read(wav((VOICE * 9).astype("<f4").tobytes(), FLOAT, 32)).samples).max() == 1


def test_one_sample_is_sound(read):
    assert len(read(wav(b"\x10\x00")).samples) == 1


@pytest.mark.fault("containers")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (wav(b""), "no samples"),
        (b"no sound at all" * 50, "cannot be read as sound"),
        (b"<!doctype html><html><body>404</body></html>", "cannot be read as sound"),
        (pcm16(VOICE), "cannot be read as sound"),
        (wav(pcm16(VOICE), rate=0), "cannot be read as sound"),
        (wav(pcm16(VOICE), channels=0), "cannot be read as sound"),
        (wav(pcm16(VOICE), rate=1_230_134_720), "1,230,134,720 samples a second"),
        (wav(pcm16(VOICE), rate=1), "1 samples a second"),
        (wav(pcm16(VOICE), tag=EXTENSIBLE + 1), ""),
        (wav(pcm16(VOICE), ALAW, 8)[:30], ""),
        (b"RIFX" + wav(pcm16(VOICE))[4:], "RIFX"),
        (b"RIFF\0\0\0\0WAVE", ""),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", "cannot be read as sound"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "cannot be read as sound"),
    ],
)
def test_what_is_no_sound_is_refused_by_name(read, content, message):
    """A file that holds no sound is refused with its name and what to use."""
    with pytest.raises(MediaFileError, match=rf"a\.wav.*{message}"):
        read(content)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(MediaFileError, match=r"no sound file .*gone\.wav: it does not exist"):
        read_sound(tmp_path / "gone.wav", RATE)
    with pytest.raises(MediaFileError, match="it is a folder"):
        read_sound(tmp_path, RATE)


def test_a_file_that_is_too_long_is_refused(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 8_000 * 61))
    with pytest.raises(MediaFileError, match="longer than 1 minutes"):
        read_sound(tmp_path / "a.wav", RATE, longest_s=60)


@pytest.mark.fault("containers")
@pytest.mark.parametrize("name", ["a:b.wav", "http:x.wav", "x[red].wav", "50%.wav", "a b.wav"])
def test_any_name_of_a_file_is_only_a_name(tmp_path, monkeypatch, name):
    """A file may have any name; FFmpeg's protocols mean nothing in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(wav(pcm16(VOICE)))
    assert len(read_sound(Path(name), RATE).samples) == RATE


def test_a_film_is_read_for_its_sound(tmp_path):
    file = tmp_path / "a.mp4"
    with av.open(str(file), "w") as out:
        stream = out.add_stream("aac", rate=RATE, layout="mono")
        video = out.add_stream("libx264", rate=25)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        frame = av.AudioFrame.from_ndarray(VOICE[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate = RATE
        out.mux(video.encode(picture))
        out.mux(stream.encode(frame))
        out.mux(video.encode(None))
        out.mux(stream.encode(None))
    assert len(read_sound(file, RATE).samples) == pytest.approx(RATE, abs=2048)
