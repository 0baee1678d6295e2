"""A client's offer: checked, cut down to what is answered, and its candidates apart.

Candidates are added after the answer, so that neither a name that nobody resolves nor a long list
delays it, and their end fails no connection (RFC 8863: a peer may be found by its own checks).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from aiortc import RTCRtpSender
from aiortc.sdp import MediaDescription, SessionDescription

from server.protocol.errors import ErrorCode, ProtocolError
from server.webrtc.candidates import SDP_ERRORS, Candidate

RECEIVING = ("recvonly", "sendrecv")
SENT_KINDS = ("audio", "video")
KINDS = (*SENT_KINDS, "application")
LARGEST_OFFER = 64_000  # characters; a browser's has 5,000 to 20,000
MAX_SECTIONS = 16


@dataclass(frozen=True, slots=True)
class Declined:
    """The section at `index` of the answer, for one of the offer that is not served at all."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What is answered.

    `sdp` has neither candidates nor declined sections any more; `mids` are the sections to send in.
    `transports` gives the section whose ICE transport a candidate is for, by the mid or the index
    that the candidate names; candidates of other bundled sections are for nothing.
    """

    sdp: str
    mids: Mapping[str, str]
    candidates: tuple[Candidate, ...]
    declined: tuple[Declined, ...]
    transports: Mapping[str | int, str]

    @property
    def is_bundled(self) -> bool:
        """Whether one transport carries all sections."""
        return len(set(self.transports.values())) == 1


@dataclass(frozen=True, slots=True)
class _Section:
    media: MediaDescription
    lines: list[str]

    @property
    def mid(self) -> str:
        return str(self.media.rtp.muxId)

    @property
    def is_rejected(self) -> bool:
        """Whether the offer itself gives it up; port 0 also marks sections with no transport of
        their own (RFC 8843, section 6).
        """
        return not self.media.port and "a=bundle-only" not in self.lines

    @property
    def receives(self) -> bool:
        media = self.media
        return media.kind in SENT_KINDS and media.direction in RECEIVING and not self.is_rejected

    @property
    def has_codec(self) -> bool:
        known = _encoded(self.media.kind)
        return any(each.mimeType.lower() in known for each in self.media.rtp.codecs)

    def is_served(self, wanted: Mapping[str, str]) -> bool:
        """Whether aiortc gets to see it; aiortc cannot decline a section."""
        if self.media.kind not in KINDS or self.is_rejected:
            return False
        if self.media.kind == "application" or wanted.get(self.media.kind) == self.mid:
            return True
        return self.has_codec  # answered as inactive, so that it can be used later

    def without_candidates(self) -> list[str]:
        return [line for line in self.lines if not _is_candidate(line)]

    def declined(self, index: int) -> Declined:
        kind, _, profile, formats = self.lines[0].split(maxsplit=3)
        lines = [f"{kind} 0 {profile} {formats}", "c=IN IP4 0.0.0.0", "a=inactive"]
        lines += [f"a=mid:{self.mid}"] if self.mid else []
        return Declined(index, "\n".join(lines))


def read_offer(text: str) -> Offer:
    """Check an offer; ProtocolError with code invalid_sdp if it cannot be answered."""
    if len(text) > LARGEST_OFFER:
        raise bad_sdp(f"it has {len(text)} characters, more than {LARGEST_OFFER}")
    _check_is_sdp(text)
    head, *parts = _split(text)
    if len(parts) > MAX_SECTIONS:
        raise bad_sdp(f"it has {len(parts)} sections, more than {MAX_SECTIONS}")
    try:
        description = SessionDescription.parse(text)
    except SDP_ERRORS as reason:
        raise bad_sdp(str(reason) or type(reason).__name__) from None
    sections = [_Section(*pair) for pair in zip(description.media, parts, strict=True)]
    _check_groups(description)
    wanted = _receiving(sections)
    if not wanted:
        raise bad_sdp("no audio or video section receives")
    served = [each for each in sections if each.is_served(wanted)]
    if any(not each.media.dtls or not each.media.dtls.fingerprints for each in served):
        raise bad_sdp("a section without a DTLS fingerprint")
    left = [each.mid for each in served]
    return Offer(
        _joined([_with_groups_of(head, left), *(each.without_candidates() for each in served)]),
        wanted,
        tuple(_candidates(sections)),
        tuple(each.declined(i) for i, each in enumerate(sections) if each not in served),
        _transports(description, left),
    )


def with_declined(answer: str, declined: Sequence[Declined]) -> str:
    """The answer with a section for each one of the offer that was left out."""
    head, *sections = _split(answer)
    for each in declined:
        sections.insert(each.index, each.text.splitlines())
    return _joined([head, *sections])


def _check_is_sdp(text: str) -> None:
    """Say what else it is: JSON around the SDP, or an encoding of it."""
    start = text.lstrip()
    if start.startswith(("{", '"')):
        try:
            kind = type(json.loads(text)).__name__
        except (ValueError, RecursionError):
            kind = ""
        if kind:
            raise bad_sdp("it is JSON, not SDP; send the text of its field `sdp`")
    if start and not start.startswith("v="):
        raise bad_sdp("SDP begins with `v=0`; it must not be encoded, in base64 for example")


def _split(text: str) -> list[list[str]]:
    """The lines of the head and of each section."""
    parts: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("m="):
            parts.append([])
        parts[-1].append(line)
    return parts


def _joined(parts: Iterable[Iterable[str]]) -> str:
    return "".join(f"{line}\r\n" for part in parts for line in part)


# ------------------------------------------------------------ sections


def _check_groups(description: SessionDescription) -> None:
    mids = {each.rtp.muxId for each in description.media}
    if any(not mids.issuperset(each.items) for each in description.group):
        # aiortc accepts it, then has no transport and cannot be closed.
        raise bad_sdp("its BUNDLE group names a missing section")


def _receiving(sections: Sequence[_Section]) -> dict[str, str]:
    """The mid of the section of each kind to send in: the first that receives what we encode, or
    else the first that receives.
    """
    found: dict[str, str] = {}
    receiving = [each for each in sections if each.receives]
    for each in sorted(receiving, key=lambda one: not one.has_codec):
        found.setdefault(each.media.kind, each.mid)
    return found


@cache
def _encoded(kind: str) -> frozenset[str]:
    """The MIME types that aiortc encodes."""
    known = RTCRtpSender.getCapabilities(kind).codecs
    return frozenset(each.mimeType.lower() for each in known) - {"video/rtx"}


def _with_groups_of(head: Iterable[str], left: Sequence[str]) -> list[str]:
    """The head, whose groups name only sections that are left."""
    lines = []
    for line in head:
        if line.startswith("a=group:"):
            semantic, *mids = line.split()
            lines.append(" ".join([semantic, *(mid for mid in mids if mid in left)]))
        else:
            lines.append(line)
    return lines


def _transports(description: SessionDescription, left: Sequence[str]) -> dict[str | int, str]:
    found: dict[str | int, str] = {mid: mid for mid in left}
    for group in description.group:
        bundled = [str(mid) for mid in group.items if mid in left]
        if group.semantic == "BUNDLE" and bundled:
            for shared in bundled[1:]:
                found.pop(shared, None)
            found[group.items[0]] = bundled[0]  # the client gathered for its own first one
    mids = enumerate(each.rtp.muxId for each in description.media)
    return found | {index: found[name] for index, name in mids if name in found}


# ------------------------------------------------------------ candidates


def _is_candidate(line: str) -> bool:
    return line.startswith(("a=candidate:", "a=end-of-candidates"))


def _candidates(sections: Sequence[_Section]) -> Iterable[Candidate]:
    for index, section in enumerate(sections):
        for line in section.lines:
            if line.startswith("a=candidate:"):
                text = line.removeprefix("a=candidate:").strip()
                yield Candidate(text, section.mid or None, index)


def bad_sdp(reason: str) -> ProtocolError:
    return ProtocolError(
        ErrorCode.INVALID_SDP,
        f"The offer cannot be answered ({reason[:160]}). It needs an audio or a video section that "
        "receives, bundled, with ICE and DTLS: send the SDP of createOffer unchanged.",
        "sdp",
    )
