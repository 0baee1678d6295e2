"""Audio files and texts sent as if they were raw PCM: recognised by their first bytes, refused."""

from server.protocol.errors import ErrorCode, ProtocolError
from server.speech.frame_chains import adts_frame, is_chain, mpeg_frame

HEAD_BYTES = 4096
"""Bytes of an item that are looked at; two MP3 frames fit."""

_MAGICS = {
    b"RIFF": "a WAV file (RIFF)",
    b"RIFX": "a WAV file (RIFX)",
    b"RF64": "a WAV file (RF64)",
    b"BW64": "a WAV file (BW64)",
    b"riff\x2e\x91\xcf\x11": "a Wave64 file (W64)",
    b"ID3": "an MP3 file (ID3)",
    b"OggS": "an Ogg file (OggS)",
    b"fLaC": "a FLAC file (fLaC)",
    b"\x1aE\xdf\xa3": "a WebM or Matroska file (EBML)",
    b"\x1fC\xb6u": "a part of a WebM or Matroska file (Cluster)",
    b".snd": "an AU file (.snd)",
    b"caff": "a CAF file (caff)",
    b"#!AMR": "an AMR file (#!AMR)",
    b"#!SILK": "a SILK file (#!SILK)",
    b"\x02#!SILK": "a SILK file (#!SILK)",
    b"ADIF": "an AAC file (ADIF)",
    b"APETAGEX": "an APE tag",
    b"MAC ": "a Monkey's Audio file (MAC)",
    b"wvpk": "a WavPack file (wvpk)",
    b"TTA1": "a TTA file (TTA1)",
    b"MThd": "a MIDI file (MThd)",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "a WMA file (ASF)",
    b"FLV\x01": "an FLV file (FLV)",
    b"\x1f\x8b\x08\x00": "a gzip file",
}
_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"sidx")
"""Types of the first box of an MP4, M4A or QuickTime file, after its length."""
_FORMS = {b"AIFF": "an AIFF file (FORM AIFF)", b"AIFC": "an AIFF file (FORM AIFC)"}
_TEXT_BYTES = frozenset(b"\t\n\r") | frozenset(range(0x20, 0x7F))
_BASE64_BYTES = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=\r\n"
)
_LEAST_TEXT = 64
_LEAST_SILENT_BASE64 = 256


def refuse_container(head: bytes) -> None:
    """Raise ProtocolError if an item's first bytes are the head of a file, not PCM samples."""
    found = _file(head) or _frames(head) or _text(head)
    if found is not None:
        raise ProtocolError(
            ErrorCode.CONTAINER_NOT_PCM,
            f"The audio is {found}, not raw PCM. Decode it, and send little-endian PCM16 "
            "samples without a header.",
            "audio",
        )


def _file(head: bytes) -> str | None:
    if head[4:8] in _BOXES:
        return f"an MP4 or M4A file ({head[4:8].decode()})"
    if head[:4] == b"FORM":
        return _FORMS.get(head[8:12])
    return next((name for magic, name in _MAGICS.items() if head.startswith(magic)), None)


def _frames(head: bytes) -> str | None:
    """The name of a file without a head of its own: frames that each begin with a sync word."""
    if is_chain(head, adts_frame):
        return "AAC frames (ADTS)"
    if is_chain(head, mpeg_frame):
        return "MP3 frames" if head[1] & 6 == 2 else "MPEG audio frames"
    return None


def _text(head: bytes) -> str | None:
    """What kind of text the bytes are, if they all are letters; sound has other bytes soon.

    A constant or nearly constant sound may have letters only, but few different ones.
    """
    is_object = head[:2] in (b'{"', b"[{", b"{\n", b"{ ", b"{\r")
    if len(head) < (12 if is_object else _LEAST_TEXT) or not _TEXT_BYTES.issuperset(head):
        return "base64 text" if _is_silent_base64(head) else None
    if is_object:
        return "JSON text"
    if min(len(set(head[::2])), len(set(head[1::2]))) < 8:
        return "base64 text" if _is_silent_base64(head) else None
    if head.startswith(b"data:"):
        return "a data: URL"
    return "base64 text" if _BASE64_BYTES.issuperset(head) else "text"


def _is_silent_base64(head: bytes) -> bool:
    return len(head) >= _LEAST_SILENT_BASE64 and not head.strip(b"A")
