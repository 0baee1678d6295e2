"""Audio streams without a file's head: frames that begin with a sync word and know their length.

A sync word alone may well be a sample. Frames in a row, whose headers agree, are no accident.
"""

from collections.abc import Callable
from dataclasses import dataclass

_LAYER_1, _LAYER_2, _LAYER_3 = 3, 2, 1
_MPEG_1, _RESERVED = 3, 1
_KBPS = {
    (True, _LAYER_1): tuple(range(0, 449, 32)),
    (True, _LAYER_2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, _LAYER_3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, _LAYER_1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, _LAYER_2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, _LAYER_3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
LEAST_FRAMES = {_LAYER_1: 6, _LAYER_2: 2, _LAYER_3: 2}
"""The sync words of layer I are the samples -1 and -2, which quiet noise is full of."""


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The header of one frame: its bytes with the header, and the part that all frames share."""

    length: int
    shared: bytes
    least_frames: int = 2
    """How many frames in a row must agree before they are taken for a file."""


ReadHeader = Callable[[bytes], FrameHeader | None]


def is_chain(head: bytes, read: ReadHeader) -> bool:
    """Whether `head` begins with frames that follow one another, all as far as `head` goes."""
    first = read(head)
    if first is None:
        return False
    count, at = 0, 0
    while at + 8 <= len(head):
        frame = read(head[at : at + 8])
        if frame is None or frame.shared != first.shared:
            return False
        count, at = count + 1, at + frame.length
    return count >= first.least_frames


def mpeg_frame(head: bytes) -> FrameHeader | None:
    """The MPEG audio frame at the start of `head` (ISO 11172-3, 2.4.1.3; ISO 13818-3)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = (head[1] >> 3) & 3, (head[1] >> 1) & 3
    bitrate, rate, padding = head[2] >> 4, (head[2] >> 2) & 3, (head[2] >> 1) & 1
    if version == _RESERVED or layer == 0 or bitrate in (0, 15) or rate == 3 or head[3] & 3 == 2:
        return None
    bits = 1000 * _KBPS[version == _MPEG_1, layer][bitrate]
    hertz = _RATES[version][rate]
    if layer == _LAYER_1:
        length = 4 * (12 * bits // hertz + padding)
    else:
        samples = 576 if layer == _LAYER_3 and version != _MPEG_1 else 1152
        length = samples // 8 * bits // hertz + padding
    shared = bytes((head[1], head[2] & 0x0C, head[3] & 0xCF))
    return FrameHeader(length, shared, LEAST_FRAMES[layer])


def adts_frame(head: bytes) -> FrameHeader | None:
    """The AAC frame in ADTS at the start of `head` (ISO 13818-7, 6.2)."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    header = 7 if head[1] & 1 else 9
    if (head[2] >> 2) & 15 > 12 or length <= header:
        return None
    return FrameHeader(length, bytes((head[1], head[2], head[3] & 0xF0)))
