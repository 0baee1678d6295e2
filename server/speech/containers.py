"""Audio files sent as if they were raw PCM: recognised by their first bytes, and refused."""

from server.protocol.errors import ErrorCode, ProtocolError

HEAD_BYTES = 4096
"""Bytes of an item that are looked at; two MP3 frames fit."""

_MAGICS = {
    b"RIFF": "a WAV file (RIFF)",
    b"ID3": "an MP3 file (ID3)",
    b"OggS": "an Ogg file (OggS)",
    b"fLaC": "a FLAC file (fLaC)",
    b"\x1aE\xdf\xa3": "a WebM or Matroska file (EBML)",
}
_MP3_KBPS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def refuse_container(head: bytes) -> None:
    """Raise ProtocolError if an item's first bytes are the head of a file, not PCM samples."""
    found = next((name for magic, name in _MAGICS.items() if head.startswith(magic)), None)
    if found is None and head[4:8] == b"ftyp":
        found = "an MP4 file (ftyp)"
    if found is None and _is_mp3(head):
        found = "MP3 frames"
    if found is not None:
        raise ProtocolError(
            ErrorCode.CONTAINER_NOT_PCM,
            f"The audio is {found}, not raw PCM. Decode the file, and send little-endian PCM16 "
            "samples without a header.",
            "audio",
        )


def _is_mp3(head: bytes) -> bool:
    """Two MPEG layer 3 frames in a row; one sync word alone may well be a sample."""
    length = _mp3_frame_bytes(head)
    return length > 0 and _mp3_frame_bytes(head[length:]) > 0


def _mp3_frame_bytes(head: bytes) -> int:
    """Bytes of the MPEG layer 3 frame at the start of `head` (ISO 11172-3, 2.4.1.3), or 0."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, bitrate, rate = (head[1] >> 3) & 3, head[2] >> 4, (head[2] >> 2) & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return 0
    per_frame = 144_000 if version == 3 else 72_000
    padding = (head[2] >> 1) & 1
    return per_frame * _MP3_KBPS[version == 3][bitrate] // _MP3_RATES[version][rate] + padding
