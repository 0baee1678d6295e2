"""The binary form of an append: a 12-byte header, little endian, then PCM16."""

import struct
from dataclasses import dataclass

from server.protocol.client_events import MAX_AUDIO_BYTES, Append
from server.protocol.errors import ErrorCode, ProtocolError
from server.protocol.fields import too_much_audio

MAGIC = 0xA17A
VERSION = 1
FLAG_COMMIT = 1


@dataclass(frozen=True, slots=True)
class HeaderField:
    """One field of the header: its name, its `struct` format character and its meaning."""

    name: str
    format: str
    text: str

    @property
    def size(self) -> int:
        """Bytes."""
        return struct.calcsize(f"<{self.format}")


HEADER_FIELDS = (
    HeaderField("magic", "H", f"0x{MAGIC:04X}"),
    HeaderField("version", "B", f"{VERSION}"),
    HeaderField("speaker_index", "B", "the speaker's place in `session.created.speakers`, from 0"),
    HeaderField("seq", "I", "counts a session's binary messages, of all speakers together"),
    HeaderField("flags", "I", "bit 0: commit, the item ends with this message; other bits 0"),
)
HEADER = struct.Struct("<" + "".join(each.format for each in HEADER_FIELDS))


def parse_binary(message: bytes) -> Append:
    """The append in one binary message; raises ProtocolError if the header is wrong."""
    if message[:64].lstrip()[:1] in (b"{", b"["):
        raise ProtocolError(
            ErrorCode.BAD_BINARY_HEADER,
            "The binary message is JSON text. Send events as text messages; binary messages hold "
            f"speech only, after a {HEADER.size}-byte header.",
        )
    if len(message) < HEADER.size:
        raise ProtocolError(
            ErrorCode.BAD_BINARY_HEADER,
            f"A binary message of {len(message)} bytes is shorter than its {HEADER.size}-byte "
            "header. Send magic 0xA17A, version, speaker index, seq and flags before the PCM16.",
        )
    magic, version, speaker, seq, flags = HEADER.unpack_from(message)
    if magic != MAGIC or version != VERSION or flags & ~FLAG_COMMIT:
        raise ProtocolError(
            ErrorCode.BAD_BINARY_HEADER,
            f"The binary header has magic 0x{magic:04X}, version {version} and flags 0x{flags:X}, "
            f"but must have 0x{MAGIC:04X}, {VERSION} and 0 or 1, little endian. Put the "
            f"{HEADER.size}-byte header before the PCM16.",
        )
    audio = message[HEADER.size :]
    if len(audio) > MAX_AUDIO_BYTES:
        raise too_much_audio(len(audio), MAX_AUDIO_BYTES)
    return Append(audio=audio, speaker=speaker, commit=bool(flags & FLAG_COMMIT), seq=seq)


def pack_binary_append(
    audio: bytes, speaker_index: int = 0, seq: int = 0, *, commit: bool = False
) -> bytes:
    """The binary form of an append: `audio` is PCM16, `speaker_index` counts from 0.

    `seq` counts the binary messages of the session, so that the server notices lost ones (sent
    while the socket was down, for example). A client that does not count sends 0.
    """
    flags = FLAG_COMMIT if commit else 0
    return HEADER.pack(MAGIC, VERSION, speaker_index, seq & 0xFFFFFFFF, flags) + audio
