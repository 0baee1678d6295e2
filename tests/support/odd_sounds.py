"""Sound files as people have them: WAVs of every sample format, wrong headers, several in one."""

import struct
from pathlib import Path

import av
import numpy as np

RATE = 24_000
PCM, FLOAT, ALAW, MULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
PCM_GUID = struct.pack("<H", PCM) + bytes.fromhex("000000001000800000aa00389b71")


def voice(seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """A tone (N,) of amplitude 0.4."""
    return 0.4 * np.sin(2 * np.pi * 330 * np.arange(round(seconds * rate)) / rate)


def pcm16(samples: np.ndarray) -> bytes:
    return np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def pcm24(samples: np.ndarray) -> bytes:
    whole = np.round(samples * (2**23 - 1)).astype("<i4")
    return whole.reshape(-1, 1).view(np.uint8)[:, :3].tobytes()


def pcm8(samples: np.ndarray) -> bytes:
    return (np.round(samples * 127) + 128).astype(np.uint8).tobytes()


def chunk(name: bytes, data: bytes, size: int | None = None) -> bytes:
    padding = b"\0" if len(data) % 2 else b""
    return name + struct.pack("<I", len(data) if size is None else size) + data + padding


def wav(
    data: bytes,
    tag: int = PCM,
    bits: int = 16,
    channels: int = 1,
    rate: int = RATE,
    *,
    size: int | None = None,
    extra: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A WAV file; `size` is what its header says of the data."""
    block = channels * bits // 8
    head = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits) + extra
    body = b"WAVE" + chunk(b"fmt ", head) + chunk(b"data", data, size) + after
    announced = len(body) if size is None else min(size + 36, 0xFFFFFFFF)
    return b"RIFF" + struct.pack("<I", announced) + body


def surround(samples: np.ndarray, channel: int) -> bytes:
    """5.1 with the voice in one channel: 0 left, 1 right, 2 centre, 3 bass, 4 and 5 behind."""
    six = np.zeros((len(samples), 6))
    six[:, channel] = samples
    mask = struct.pack("<HHI", 22, 16, 0x3F) + PCM_GUID
    return wav(pcm16(six.reshape(-1)), EXTENSIBLE, 16, 6, extra=mask)


def stereo(left: np.ndarray, right: np.ndarray) -> bytes:
    return wav(pcm16(np.stack([left, right], 1).reshape(-1)), channels=2)


def encoded(path: Path, codec: str, rate: int = 48_000, container: str | None = None) -> Path:
    """The voice, encoded with any of FFmpeg's codecs."""
    samples = pcm16(voice(rate=rate))
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        shape = stream.codec_context
        resampler = av.AudioResampler(
            shape.format.name, "mono", rate, frame_size=shape.frame_size or 1024
        )
        packed = np.frombuffer(samples, "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout="mono")
        frame.sample_rate = rate
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return path
