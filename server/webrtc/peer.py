"""One WebRTC peer of a session: offer, answer, candidates, end."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError

from server.config import IceServer, Webrtc
from server.protocol.client_events import WebrtcCandidate
from server.protocol.errors import ErrorCode, ProtocolError
from server.webrtc.candidates import MAX_CANDIDATES, SDP_ERRORS, Candidate, CandidateBudget
from server.webrtc.ice_credentials import credentials_for
from server.webrtc.ice_guard import Reach, guard
from server.webrtc.offer import Offer, bad_sdp, with_declined
from server.webrtc.sending.feedback import attach
from server.webrtc.sending.sender import Sender
from server.webrtc.tracks import AudioTrack, VideoTrack

logger = logging.getLogger(__name__)

CLOSE_S = 10


class Peer:
    """One answered offer; `on_change` gets each new state: connected, failed, closed.

    `sender` decides how much is sent.
    """

    def __init__(
        self,
        offer: Offer,
        config: Webrtc,
        reach: Reach,
        sender: Sender,
        on_change: Callable[["Peer", str], None],
    ) -> None:
        servers = [_ice_server(each) for each in config.ice_servers]
        # Without a configuration aiortc uses a public STUN server; with an empty list, none.
        # Unless told that all is bundled, aiortc leaves the second section of a kind without media.
        bundle = RTCBundlePolicy.MAX_BUNDLE if offer.is_bundled else RTCBundlePolicy.BALANCED
        self._connection = RTCPeerConnection(
            RTCConfiguration(iceServers=servers, bundlePolicy=bundle)
        )
        self._connection.on("connectionstatechange", lambda: on_change(self, self.state))
        self._offer = offer
        self._sender = sender
        self._reach = reach
        self._budget = CandidateBudget(reach.rules, offer.transports)
        self._tracks: dict[str, AudioTrack | VideoTrack] = {}
        self._waiting: list[Candidate] | None = []  # until the answer is made
        self._adding: set[asyncio.Task[None]] = set()

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

        The client's candidates are used afterwards, beside everything else.
        """
        offer = self._offer
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
            self._send_in(offer.mids)
            guard(self._connection, self._reach)
            answer = await self._connection.createAnswer()
            sdp = answer.sdp
            if "a=setup:passive" not in offer.sdp:
                # aiortc as DTLS client would refuse a peer with an RSA certificate.
                sdp = sdp.replace("a=setup:active", "a=setup:passive")
            await self._connection.setLocalDescription(RTCSessionDescription(sdp, "answer"))
            attach(self._connection, self._sender)
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
        for each in known:
            try:
                self._take(each)
            except SDP_ERRORS as reason:  # browsers offer kinds that aiortc does not know
                logger.info("a candidate cannot be read: %.100r (%s)", each.line, reason)
        return with_declined(str(self._connection.localDescription.sdp), offer.declined)

    def _send_in(self, mids: Mapping[str, str]) -> None:
        """Send a track in each of these sections, and neither send nor receive in the others."""
        for transceiver in self._connection.getTransceivers():
            transceiver.direction = "inactive"
            if mids.get(transceiver.kind) == transceiver.mid:
                kind = AudioTrack if transceiver.kind == "audio" else VideoTrack
                track = kind(self._sender)
                self._tracks[transceiver.kind] = track
                transceiver.sender.replaceTrack(track)
                transceiver.direction = "sendonly"

    def add_candidate(self, event: WebrtcCandidate) -> None:
        """Use one more candidate; ProtocolError for one that cannot be read. The end of the
        candidates is not passed on: the peer may still be found by its own checks (RFC 8863).
        """
        line = event.candidate.removeprefix("candidate:").strip()
        if not line:
            return
        candidate = Candidate(line, event.sdp_mid, event.sdp_mline_index)
        if self._waiting is not None:
            self._waiting = [*self._waiting, candidate][-MAX_CANDIDATES:]
            return
        try:
            self._take(candidate)
        except SDP_ERRORS as reason:
            raise ProtocolError(
                ErrorCode.INVALID_SDP,
                f"The candidate {line[:80]!r} cannot be used ({reason}). Send the browser's "
                "RTCIceCandidate unchanged, with sdpMid or sdpMLineIndex.",
                "candidate",
            ) from None

    def _take(self, candidate: Candidate) -> None:
        if (used := self._budget.take(candidate)) is None:
            logger.info("a candidate is left out: %.100r", candidate.line)
            return
        task = asyncio.create_task(self._add(used), name="candidate")
        self._adding.add(task)
        task.add_done_callback(self._adding.discard)

    async def _add(self, candidate: RTCIceCandidate) -> None:
        """May take a second, for a name of the local network."""
        try:
            await self._connection.addIceCandidate(candidate)
        except OSError as reason:  # no multicast here
            logger.info("a candidate's name cannot be looked up: %s", reason)

    async def close(self) -> None:
        """End ICE, DTLS and both senders; nothing of the peer keeps running."""
        for track in self._tracks.values():
            track.stop()
        for task in tuple(self._adding):
            task.cancel()
        try:
            async with asyncio.timeout(CLOSE_S):
                # Shielded: aiortc may be closing it itself, and our limit must not cancel that.
                await asyncio.shield(self._connection.close())
        except TimeoutError:
            logger.error("a peer connection did not close within %d s", CLOSE_S)


def _ice_server(server: IceServer) -> RTCIceServer:
    own = credentials_for(server, "server")
    return RTCIceServer(list(server.urls), own.username, own.credential)
