"""The encoders' packets, decoded again by aiortc's decoders."""

import fractions

import av
import numpy as np
import pytest

from server.webrtc.sending.encoders import OpusEncoder, VideoEncoder

TIME_BASE = fractions.Fraction(1, 90_000)


def picture(number: int) -> av.VideoFrame:
    chance = np.random.default_rng(number // 5)
    pixels = np.full((256, 256, 3), 90, np.uint8)
    pixels[100:140, 80:170] = chance.integers(0, 255, (40, 90, 3))
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    frame.pts, frame.time_base = number * 3_600, TIME_BASE
    return frame


def sound(number: int) -> av.AudioFrame:
    wave = (8_000 * np.sin(np.arange(960) / 20)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(wave[None, :], format="s16", layout="mono")
    frame.sample_rate, frame.pts = 48_000, 960 * number
    return frame


@pytest.mark.parametrize("codec", ["video/VP8", "video/H264"])
def test_only_the_first_picture_of_a_bit_rate_is_a_key_frame(codec: str) -> None:
    encoder = VideoEncoder(codec)
    rates = [100_000] * 30 + [50_000] * 30
    made = [encoder.encode(picture(n), bps, is_key=False) for n, bps in enumerate(rates)]
    assert [n for n, each in enumerate(made) if each.is_keyframe] == [0, 30]


@pytest.mark.parametrize("codec", ["video/VP8", "video/H264"])
@pytest.mark.fault("viewers")
def test_a_key_frame_that_is_asked_for_is_one_key_frame(codec: str) -> None:
    """A key frame that a viewer asks for does not make the next pictures key frames too."""
    encoder = VideoEncoder(codec)
    made = [encoder.encode(picture(n), 100_000, is_key=n == 10) for n in range(30)]
    assert [n for n, each in enumerate(made) if each.is_keyframe] == [0, 10]


@pytest.mark.parametrize("codec", ["video/VP8", "video/H264"])
@pytest.mark.parametrize("bps", [32_000, 65_000, 250_000])
@pytest.mark.fault("weak-networks")
def test_pictures_take_the_bits_they_may(codec: str, bps: int) -> None:
    """Video takes no more than its bit rate, down to 32 kbit/s."""
    encoder = VideoEncoder(codec)
    made = [encoder.encode(picture(n), bps, is_key=False) for n in range(250)]
    assert sum(8 * each.size for each in made[50:] if each) / 8 <= 1.3 * bps


@pytest.mark.parametrize("has_fec", [False, True])
@pytest.mark.parametrize("bps", [64_000, 32_000, 16_000])
def test_each_frame_of_sound_is_one_packet_at_its_time(bps: int, has_fec: bool) -> None:
    encoder = OpusEncoder()
    made = [encoder.encode(sound(n), bps, has_fec) for n in range(100)]
    assert [each.pts for each in made] == [960 * n for n in range(100)]
    assert sum(8 * each.size for each in made) / 2 <= 1.5 * bps


def test_sound_goes_on_when_its_bit_rate_changes() -> None:
    encoder = OpusEncoder()
    decoder = av.CodecContext.create("libopus", "r")
    rates = [64_000] * 20 + [16_000] * 20
    packets = [encoder.encode(sound(n), bps, False) for n, bps in enumerate(rates)]
    heard = [f.to_ndarray() for each in packets for f in decoder.decode(each)]
    loudness = [float(np.abs(each.astype(np.float64)).max()) for each in heard[3:]]
    assert len(heard) == 40
    assert min(loudness) > 0.3 * max(loudness)
