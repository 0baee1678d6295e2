"""The remote candidates of one peer: which of them are used."""

from collections.abc import Mapping
from dataclasses import dataclass

from aiortc import RTCIceCandidate
from aiortc.sdp import candidate_from_sdp

from server.addresses import AddressRules, parse_address

MAX_CANDIDATES = 32
"""Remote candidates of one peer; RFC 8445, section 14.1.1, limits the pairs to 100."""
MAX_PER_ADDRESS = 6
"""Checks go to each candidate: more of one address would only be packets against it."""
WEB_PORTS = (80, 443)
"""Ports below 1024 that peers have, behind TURN servers; others are services of somebody."""

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


class CandidateBudget:
    """Takes few candidates of one peer, and none at an address that is off limits."""

    def __init__(self, rules: AddressRules, transports: Mapping[str | int, str]) -> None:
        self._rules = rules
        self._transports = transports
        self._by_host: dict[str, int] = {}

    def take(self, candidate: Candidate) -> RTCIceCandidate | None:
        """The candidate, if it is used; raises SDP_ERRORS for one that cannot be read."""
        found = candidate_from_sdp(candidate.line)
        mid = self._transport(candidate)
        if mid is None or not self._is_useful(found):
            return None
        taken = self._by_host.get(found.ip, 0)
        if taken >= MAX_PER_ADDRESS or sum(self._by_host.values()) >= MAX_CANDIDATES:
            return None
        self._by_host[found.ip] = taken + 1
        found.sdpMid, found.sdpMLineIndex = mid, None
        return found

    def _transport(self, candidate: Candidate) -> str | None:
        """The section whose transport it is for; None for one that shares another's."""
        if candidate.sdp_mid is not None:
            return self._transports.get(candidate.sdp_mid)
        if candidate.sdp_mline_index is None:
            raise ValueError("it names no section")
        return self._transports.get(candidate.sdp_mline_index)

    def _is_useful(self, candidate: RTCIceCandidate) -> bool:
        if candidate.protocol.lower() != "udp":
            return False  # aioice speaks no ICE over TCP
        if candidate.port < 1024 and candidate.port not in WEB_PORTS:
            return False
        address = parse_address(candidate.ip)
        if address is None:
            return self._rules.permits_local_names and candidate.ip.endswith(".local")
        return self._rules.permits(address)
