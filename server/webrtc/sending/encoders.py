"""The encoders of a session: Opus, VP8 and H264, each in coarse steps of its bit rate.

FFmpeg's VP8 and Opus take a new bit rate only with a new encoder. A new video encoder begins with a
key frame, which is why the steps are coarse; at low rates it is small (1 kB at 65 kbit/s).
"""

import fractions
import os
from collections.abc import Callable
from typing import cast

import av
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from runtime.timing import OUTPUT_RATE

SOUND_TIME_BASE = fractions.Fraction(1, OUTPUT_RATE)
VIDEO_TIME_BASE = fractions.Fraction(1, 90_000)
EXPECTED_LOSS_PERCENT = 15
"""What Opus prepares for when it adds the packet before (at a lower rate) to each packet."""
WORST_QUANTIZER = 63
KEY_FRAMES_AFTER = 3_000  # pictures, if nobody asks for one


class OpusEncoder:
    """Mono Opus in packets of 20 ms; `frame` is mono PCM16 at 48 kHz of that length."""

    def __init__(self) -> None:
        self._codec: av.AudioCodecContext | None = None
        self._made: tuple[int, bool] | None = None

    def encode(self, frame: av.AudioFrame, bps: int, has_fec: bool) -> "av.Packet[av.AudioStream]":
        """The packet of a frame, with its time."""
        if self._codec is None or self._made != (bps, has_fec):
            self._codec = _opus(bps, has_fec)
            self._made = (bps, has_fec)
        (packet,) = self._codec.encode(frame)
        packet.pts, packet.time_base = frame.pts, SOUND_TIME_BASE  # less the encoder's delay
        return packet


def _opus(bps: int, has_fec: bool) -> av.AudioCodecContext:
    codec = av.CodecContext.create("libopus", "w")
    codec.bit_rate = bps
    codec.format = "s16"
    codec.layout = "mono"
    codec.sample_rate = OUTPUT_RATE
    codec.time_base = SOUND_TIME_BASE
    codec.options = {"application": "voip", "vbr": "constrained"}
    if has_fec:
        codec.options |= {"fec": "1", "packet_loss": str(EXPECTED_LOSS_PERCENT)}
    return codec


class VideoEncoder:
    """VP8 or H264; a change of the bit rate or the size begins anew, with a key frame."""

    def __init__(self, mime_type: str) -> None:
        self._make = MAKERS[mime_type.lower()]
        self._codec: VideoCodecContext | None = None
        self._made: tuple[int, int, int] | None = None

    def encode(self, frame: av.VideoFrame, bps: int, *, is_key: bool) -> "av.Packet[Stream] | None":
        """The packet of a frame, with its time; None if the encoder left it out."""
        if frame.format.name != "yuv420p":
            frame = frame.reformat(format="yuv420p")
        wanted = (frame.width, frame.height, bps)
        if self._codec is None or self._made != wanted:
            self._codec, self._made = self._make(*wanted), wanted
        frame.pict_type = PictureType.I if is_key else PictureType.NONE
        packets = self._codec.encode(frame)
        if not packets:
            return None
        packet = av.Packet(b"".join(bytes(each) for each in packets))
        packet.pts, packet.time_base = frame.pts, VIDEO_TIME_BASE
        packet.is_keyframe = packets[0].is_keyframe
        return packet


def _vp8(width: int, height: int, bps: int) -> VideoCodecContext:
    """libvpx for real time at a constant rate, as in aiortc, with worse quantizers allowed."""
    codec = _codec("libvpx", width, height, bps)
    codec.gop_size = KEY_FRAMES_AFTER
    codec.qmin = 2
    codec.qmax = WORST_QUANTIZER
    codec.options = {
        "bufsize": str(bps),
        "cpu-used": "-6",
        "deadline": "realtime",
        "lag-in-frames": "0",
        "minrate": str(bps),  # the same as maxrate: a constant rate
        "maxrate": str(bps),
        "noise-sensitivity": "4",
        "overshoot-pct": "15",
        "partitions": "0",
        "static-thresh": "1",
        "undershoot-pct": "100",
    }
    codec.thread_count = _threads(width * height)
    return codec


def _h264(width: int, height: int, bps: int) -> VideoCodecContext:
    codec = _codec("libx264", width, height, bps)
    codec.options = {
        "level": "31",
        "tune": "zerolatency",
        "g": str(KEY_FRAMES_AFTER),
        "maxrate": str(bps),
        "bufsize": str(bps // 2),
    }
    codec.profile = "Baseline"
    return codec


def _codec(name: str, width: int, height: int, bps: int) -> VideoCodecContext:
    codec = cast(VideoCodecContext, av.CodecContext.create(name, "w"))
    codec.width, codec.height = width, height
    codec.bit_rate = bps
    codec.pix_fmt = "yuv420p"
    codec.framerate = fractions.Fraction(30, 1)
    codec.time_base = VIDEO_TIME_BASE
    return codec


def _threads(pixels: int) -> int:
    cores = os.cpu_count() or 1
    if pixels > 1280 * 960 and cores >= 6:
        return 3
    return 2 if pixels > 640 * 480 and cores >= 3 else 1


MAKERS: dict[str, Callable[[int, int, int], VideoCodecContext]] = {
    "video/vp8": _vp8,
    "video/h264": _h264,
}
