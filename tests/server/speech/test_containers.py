"""Files and texts sent as raw samples are refused by name; no sound is."""

import base64
import io
import json

import av
import numpy as np
import pytest

from server.protocol.errors import ProtocolError
from server.speech.containers import HEAD_BYTES, refuse_container

RATE = 48_000
TONE = (8_000 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype("<i2")


def a_file(container: str, codec: str, options: dict[str, str]) -> bytes:
    """A second of a tone, written by FFmpeg."""
    out = io.BytesIO()
    with av.open(out, "w", format=container, container_options=options) as muxer:
        stream = muxer.add_stream(codec, rate=RATE, layout="mono")
        sound = av.AudioFrame.from_ndarray(TONE[None, :], "s16", "mono")
        sound.sample_rate = RATE
        resampler = av.AudioResampler(stream.format.name, "mono", RATE, stream.frame_size or 1024)
        for frame in [*resampler.resample(sound), *resampler.resample(None)]:
            muxer.mux(stream.encode(frame))
        muxer.mux(stream.encode(None))
    return out.getvalue()


FILES = [
    ("adts", "aac", {}, "ADTS"),
    ("mp3", "libmp3lame", {}, "ID3"),
    ("mp3", "libmp3lame", {"id3v2_version": "0", "write_xing": "0"}, "MP3 frames"),
    ("mp2", "mp2", {}, "MPEG audio frames"),
    ("aiff", "pcm_s16be", {}, "AIFF"),
    ("au", "pcm_s16be", {}, "AU"),
    ("caf", "pcm_s16le", {}, "CAF"),
    ("wav", "pcm_s16le", {}, "RIFF"),
    ("wav", "pcm_s16le", {"rf64": "always"}, "RF64"),
    ("w64", "pcm_s16le", {}, "W64"),
    ("webm", "libopus", {}, "WebM"),
    ("matroska", "libopus", {}, "Matroska"),
    ("ogg", "libopus", {}, "Ogg"),
    ("flac", "flac", {}, "FLAC"),
    ("ipod", "aac", {}, "M4A"),
    ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}, "MP4"),
    ("mov", "pcm_s16le", {}, "MP4"),
    ("wv", "wavpack", {}, "WavPack"),
    ("tta", "tta", {}, "TTA"),
    ("asf", "pcm_s16le", {}, "WMA"),
]


@pytest.mark.fault("containers")
@pytest.mark.parametrize(("container", "codec", "options", "name"), FILES)
def test_a_file_of_every_kind_is_refused_by_name(container, codec, options, name):
    """An audio file sent as raw samples is refused by its name, not played as noise."""
    with pytest.raises(ProtocolError, match=name) as refused:
        refuse_container(a_file(container, codec, options)[:HEAD_BYTES])
    assert refused.value.code == "container_not_pcm"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"#!AMR\n" + bytes(range(60)), "AMR"),
        (b"#!AMR-WB\n" + bytes(range(60)), "AMR"),
        (b"RIFX\0\0\0\0WAVE", "RIFX"),
        (b"BW64\xff\xff\xff\xffWAVE", "BW64"),
        (b"FORM\0\0\1\0AIFCFVER", "AIFC"),
        (b"\x1fC\xb6u\x01\xff\xff\xff", "WebM"),
        (b"\0\0\0\x18moofmfhd", "MP4"),
        (b"\x02#!SILK_V3", "SILK"),
    ],
)
def test_rarer_heads_are_refused_by_name(head, name):
    with pytest.raises(ProtocolError, match=name):
        refuse_container(head)


NOISE = np.random.default_rng(1).integers(-20_000, 20_000, 2_000).astype("<i2").tobytes()


@pytest.mark.fault("containers")
@pytest.mark.parametrize(
    ("text", "name"),
    [
        (base64.b64encode(NOISE), "base64"),
        (base64.b64encode(TONE.tobytes()), "base64"),
        (base64.encodebytes(NOISE), "base64"),
        (base64.urlsafe_b64encode(NOISE), "base64"),
        (base64.b64encode(bytes(4_000)), "base64"),
        (b"data:audio/wav;base64," + base64.b64encode(NOISE), "data: URL"),
        (b'{"type":"ping"}', "JSON"),
        (json.dumps({"type": "input_audio_buffer.append", "audio": "AAAA"}).encode(), "JSON"),
        (json.dumps([{"audio": "AAAA" * 9, "item_id": "item_1"}], indent=1).encode(), "text"),
        (b"<!DOCTYPE html><html><head><title>401 Authorization Required</title></head>", "text"),
    ],
)
def test_text_sent_as_samples_is_refused_by_name(text, name):
    """Base64 text and JSON sent as raw samples are refused by name."""
    with pytest.raises(ProtocolError, match=name):
        refuse_container(text[:HEAD_BYTES])


def sounds(rng: np.random.Generator, count: int):
    """Sound of many kinds, as PCM16: noise of all levels, tones, steps, speech-like, constant."""
    time = np.arange(HEAD_BYTES // 2)
    for number in range(count):
        level = 10 ** rng.uniform(0, 4.6)
        match number % 6:
            case 0:
                yield rng.normal(0, level, len(time))
            case 1:
                yield level * np.sin(rng.uniform(0, 1) * time + rng.uniform(0, 6))
            case 2:
                yield np.full(len(time), rng.integers(-32_768, 32_768)) + rng.normal(
                    0, rng.choice([0, 1, 30]), len(time)
                )
            case 3:  # a voice: pulses through a resonance, with noise
                pulses = (time % rng.integers(40, 200) == 0) * level
                ring = np.exp(-time[:200] / 30) * np.cos(rng.uniform(0.05, 0.9) * time[:200])
                yield np.convolve(pulses, ring)[: len(time)] + rng.normal(0, 3, len(time))
            case 4:
                yield level * np.sign(np.sin(rng.uniform(0, 1) * time))
            case 5:
                yield rng.integers(-32_768, 32_768, len(time))


@pytest.mark.fault("containers")
def test_no_sound_is_taken_for_a_file():
    """Raw samples are never taken for a file: noise, tones, voices, constants of any level."""
    rng = np.random.default_rng(7)
    for sound in sounds(rng, 6_000):
        pcm = np.clip(sound, -32_768, 32_767).astype("<i2").tobytes()
        assert refuse_container(pcm) is None
        assert refuse_container(pcm[: rng.choice([16, 160, 640, 1920])]) is None


def test_every_constant_sound_but_the_text_of_silence_is_taken():
    for value in range(-32_768, 32_768, 257):
        if value != 0x4141:
            assert refuse_container(np.full(700, value, "<i2").tobytes()) is None
