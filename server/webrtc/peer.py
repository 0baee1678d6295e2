"""One WebRTC peer of a session: offer, answer, candidates, end."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import h264, vpx
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.sdp import candidate_from_sdp

from server.addresses import AddressRules
from server.config import IceServer, Webrtc
from server.protocol.client_events import WebrtcCandidate
from server.protocol.errors import ErrorCode, ProtocolError
from server.webrtc.ice_credentials import credentials_for
from server.webrtc.ice_guard import guard
from server.webrtc.offer import (
    MAX_CANDIDATES,
    SDP_ERRORS,
    Candidate,
    CandidateBudget,
    Offer,
    bad_sdp,
)
from server.webrtc.tracks import AudioTrack, VideoTrack

logger = logging.getLogger(__name__)

CLOSE_S = 10


class Peer:
    """One answered offer; `on_change` gets each new state: connected, failed, closed."""

    def __init__(
        self,
        offer: Offer,
        config: Webrtc,
        listen_host: str,
        rules: AddressRules,
        on_change: Callable[["Peer", str], None],
    ) -> None:
        servers = [_ice_server(each) for each in config.ice_servers]
        # Without a configuration aiortc uses a public STUN server; with an empty list, none.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._connection.on("connectionstatechange", lambda: on_change(self, self.state))
        self._offer = offer
        self._listen_host = listen_host
        self._budget = CandidateBudget(rules)
        self._tracks: dict[str, AudioTrack | VideoTrack] = {}
        self._waiting: list[Candidate] | None = []  # until the answer is made
        self._adding: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        return str(self._connection.connectionState)

    @property
    def is_alive(self) -> bool:
        return self.state not in ("failed", "closed")

    @property
    def tracks(self) -> Sequence[AudioTrack | VideoTrack]:
        """The tracks that the offer asked for."""
        return tuple(self._tracks.values())

    async def answer(self) -> str:
        """The answer's SDP with all of our candidates; ProtocolError for a bad offer.

        The offer's own candidates are added afterwards, beside everything else.
        """
        offer = self._offer
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
            self._send_in(offer.mids)
            guard(self._connection, self._listen_host)
            answer = await self._connection.createAnswer()
            await self._connection.setLocalDescription(answer)
        except OperationError:
            raise ProtocolError(
                ErrorCode.NO_COMMON_CODEC,
                "The offer has no codec that this server sends. Offer VP8 or H264 (baseline, "
                "packetization-mode 1) for video, and Opus for audio.",
                "sdp",
            ) from None
        except (InvalidStateError, InvalidAccessError, *SDP_ERRORS) as reason:
            raise bad_sdp(str(reason) or type(reason).__name__) from None
        known, self._waiting = [*offer.candidates, *(self._waiting or ())], None
        self._adding = asyncio.create_task(self._add_all(known), name="candidates")
        return str(self._connection.localDescription.sdp)

    def _send_in(self, mids: dict[str, str]) -> None:
        """Send a track in each of these sections, and neither send nor receive in the others."""
        for transceiver in self._connection.getTransceivers():
            transceiver.direction = "inactive"
            if mids.get(transceiver.kind) == transceiver.mid:
                track = AudioTrack() if transceiver.kind == "audio" else VideoTrack()
                self._tracks[transceiver.kind] = track
                transceiver.sender.replaceTrack(track)
                transceiver.direction = "sendonly"

    async def _add_all(self, candidates: Sequence[Candidate]) -> None:
        for each in candidates:
            with contextlib.suppress(*SDP_ERRORS):  # browsers offer kinds that aiortc does not know
                await self._add(each)

    async def add_candidate(self, event: WebrtcCandidate) -> None:
        """Use one more candidate; ProtocolError for one that cannot be read. The end of the
        candidates is not passed on: the peer may still be found by its own checks (RFC 8863).
        """
        line = event.candidate.removeprefix("candidate:").strip()
        if not line:
            return
        candidate = Candidate(line, event.sdp_mid, event.sdp_mline_index)
        if self._waiting is not None:
            self._waiting = [*self._waiting, candidate][:MAX_CANDIDATES]
            return
        try:
            await self._add(candidate)
        except SDP_ERRORS as reason:
            raise ProtocolError(
                ErrorCode.INVALID_SDP,
                f"The candidate {line[:80]!r} cannot be used ({reason}). Send the browser's "
                "RTCIceCandidate unchanged, with sdpMid or sdpMLineIndex.",
                "candidate",
            ) from None

    async def _add(self, candidate: Candidate) -> None:
        if not self._budget.takes(candidate.line):
            logger.info("a candidate is left out: %.100s", candidate.line)
            return
        parsed = candidate_from_sdp(candidate.line)
        parsed.sdpMid, parsed.sdpMLineIndex = candidate.sdp_mid, candidate.sdp_mline_index
        await self._connection.addIceCandidate(parsed)

    async def close(self) -> None:
        """End ICE, DTLS and both senders; nothing of the peer keeps running."""
        for track in self._tracks.values():
            track.stop()
        if self._adding is not None:
            self._adding.cancel()
        try:
            async with asyncio.timeout(CLOSE_S):
                # Shielded: aiortc may be closing it itself, and our limit must not cancel that.
                await asyncio.shield(self._connection.close())
        except TimeoutError:
            logger.error("a peer connection did not close within %d s", CLOSE_S)


def set_video_bitrate(bits_per_second: int) -> None:
    """Set the encoders' first bit rate, a module constant of aiortc; REMB changes it later."""
    vpx.DEFAULT_BITRATE = min(bits_per_second, vpx.MAX_BITRATE)
    h264.DEFAULT_BITRATE = min(bits_per_second, h264.MAX_BITRATE)


def _ice_server(server: IceServer) -> RTCIceServer:
    own = credentials_for(server, "server")
    return RTCIceServer(list(server.urls), own.username, own.credential)
