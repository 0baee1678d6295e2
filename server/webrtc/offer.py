"""A client's offer: checked, cut down to what is answered, and its candidates apart.

Candidates are added after the answer, so that neither a name that nobody resolves nor a long list
delays it, and their end fails no connection (RFC 8863: a peer may be found by its own checks).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from aiortc.sdp import MediaDescription, SessionDescription, candidate_from_sdp

from server.addresses import AddressRules, parse_address
from server.protocol.errors import ErrorCode, ProtocolError

RECEIVING = ("recvonly", "sendrecv")
KINDS = ("audio", "video", "application")
SENT_KINDS = ("audio", "video")
LARGEST_OFFER = 100_000  # characters; a browser's has 5,000 to 20,000
MAX_SECTIONS = 16
MAX_CANDIDATES = 32
"""Remote candidates of one peer; RFC 8445, section 14.1.1, limits the pairs to 100."""
MAX_PER_ADDRESS = 4
"""Checks go to each candidate: more of one address would only be packets against it."""

# aiortc's SDP parser indexes and converts as it reads; these are its errors for bad text.
SDP_ERRORS = (
    ValueError,
    IndexError,
    KeyError,
    AttributeError,
    TypeError,
    AssertionError,
    StopIteration,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate of the client: its SDP line without `candidate:`, and the section it names."""

    line: str
    sdp_mid: str | None
    sdp_mline_index: int | None


@dataclass(frozen=True, slots=True)
class Offer:
    """What is answered. `sdp` has no candidates any more; `mids` are the sections to send in."""

    sdp: str
    mids: dict[str, str]
    candidates: tuple[Candidate, ...]


def read_offer(text: str) -> Offer:
    """Check an offer; ProtocolError with code invalid_sdp if it cannot be answered."""
    if len(text) > LARGEST_OFFER:
        raise bad_sdp(f"it has {len(text)} characters, more than {LARGEST_OFFER}")
    _check_is_sdp(text)
    try:
        description = SessionDescription.parse(text)
    except SDP_ERRORS as reason:
        raise bad_sdp(str(reason) or type(reason).__name__) from None
    media = description.media
    if len(media) > MAX_SECTIONS:
        raise bad_sdp(f"it has {len(media)} sections, more than {MAX_SECTIONS}")
    mids = {each.rtp.muxId for each in media if each.kind in KINDS}
    if any(not mids.issuperset(each.items) for each in description.group):
        # aiortc accepts it, then has no transport and cannot be closed.
        raise bad_sdp("its BUNDLE group names a missing section")
    if any(not each.dtls or not each.dtls.fingerprints for each in media if each.port):
        raise bad_sdp("a section without a DTLS fingerprint")
    wanted = _receiving(media)
    if not wanted:
        raise bad_sdp("no audio or video section receives")
    return Offer(_without_candidates(text), wanted, tuple(_candidates(text)))


def _receiving(media: Iterable[MediaDescription]) -> dict[str, str]:
    """The mid of the first section of each kind that receives."""
    found: dict[str, str] = {}
    for each in media:
        if each.kind in SENT_KINDS and each.direction in RECEIVING and each.port:
            found.setdefault(each.kind, each.rtp.muxId)
    return found


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


def _is_candidate(line: str) -> bool:
    return line.startswith(("a=candidate:", "a=end-of-candidates"))


def _without_candidates(text: str) -> str:
    return "\r\n".join(line for line in text.splitlines() if not _is_candidate(line)) + "\r\n"


def _candidates(text: str) -> Iterable[Candidate]:
    section, mid = -1, None
    pending: list[str] = []
    for line in text.splitlines():
        if line.startswith("m="):
            yield from (Candidate(each, mid, section) for each in pending)
            section, mid, pending = section + 1, None, []
        elif line.startswith("a=mid:"):
            mid = line.removeprefix("a=mid:").strip()
        elif line.startswith("a=candidate:"):
            pending.append(line.removeprefix("a=candidate:").strip())
    yield from (Candidate(each, mid, section) for each in pending)


class CandidateBudget:
    """Which candidates of one peer are used: few, and none at an address that is off limits."""

    def __init__(self, rules: AddressRules) -> None:
        self._rules = rules
        self._by_host: dict[str, int] = {}

    def takes(self, line: str) -> bool:
        """Whether to use a candidate; counts those that are. Raises SDP_ERRORS for a bad line."""
        candidate = candidate_from_sdp(line)
        if candidate.protocol.lower() != "udp":
            return False  # aioice speaks no ICE over TCP
        address = parse_address(candidate.ip)
        if not (
            self._rules.permits_local_names if address is None else self._rules.permits(address)
        ):
            return False
        taken = self._by_host.get(candidate.ip, 0)
        if taken >= MAX_PER_ADDRESS or sum(self._by_host.values()) >= MAX_CANDIDATES:
            return False
        self._by_host[candidate.ip] = taken + 1
        return True


def bad_sdp(reason: str) -> ProtocolError:
    return ProtocolError(
        ErrorCode.INVALID_SDP,
        f"The offer cannot be answered ({reason[:160]}). It needs an audio or a video section that "
        "receives, bundled, with ICE and DTLS: send the SDP of createOffer unchanged.",
        "sdp",
    )
