"""One WebRTC peer of a session: offer, answer, candidates, end."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.sdp import SessionDescription, candidate_from_sdp

from server.config import Webrtc
from server.metrics import Metrics
from server.protocol.client_events import WebrtcCandidate
from server.protocol.errors import ErrorCode, ProtocolError
from server.webrtc.sending.feedback import attach
from server.webrtc.sending.sender import Sender
from server.webrtc.tracks import AudioTrack, VideoTrack

logger = logging.getLogger(__name__)

CLOSE_S = 10
RECEIVING = ("recvonly", "sendrecv")
KINDS = ("audio", "video", "application")
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


class Peer:
    """One answered offer; `on_change` gets each new state: connected, failed, closed.

    `on_weak` is told when its network becomes weak, and when it is good again.
    """

    def __init__(
        self,
        config: Webrtc,
        metrics: Metrics,
        on_change: Callable[["Peer", str], None],
        on_weak: Callable[[bool], None],
    ) -> None:
        servers = [
            RTCIceServer(list(each.urls), each.username, each.credential)
            for each in config.ice_servers
        ]
        # Without a configuration aiortc uses a public STUN server; with an empty list, none.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._connection.on("connectionstatechange", lambda: on_change(self, self.state))
        self._tracks: dict[str, AudioTrack | VideoTrack] = {}
        self._metrics = metrics
        self._sender = Sender(config.video_bitrate, metrics, on_weak)

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

    async def answer(self, offer: str) -> str:
        """The answer's SDP with all of our candidates; ProtocolError for a bad offer."""
        for kind in _kinds_wanted(offer):
            track = AudioTrack(self._sender) if kind == "audio" else VideoTrack(self._sender)
            self._tracks[kind] = track
            # Before the remote description: afterwards aiortc ignores it silently.
            self._connection.addTransceiver(track, direction="sendonly")
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            answer = await self._connection.createAnswer()
            await self._connection.setLocalDescription(answer)
            attach(self._connection, self._sender, self._metrics)
        except OperationError:
            raise ProtocolError(
                ErrorCode.NO_COMMON_CODEC,
                "The offer has no codec that this server sends. Offer VP8 or H264 (baseline, "
                "packetization-mode 1) for video, and Opus for audio.",
                "sdp",
            ) from None
        except (InvalidStateError, InvalidAccessError, *SDP_ERRORS) as reason:
            raise _bad_sdp(str(reason) or type(reason).__name__) from None
        return str(self._connection.localDescription.sdp)

    async def add_candidate(self, event: WebrtcCandidate) -> None:
        line = event.candidate.removeprefix("candidate:").strip()
        try:
            candidate = candidate_from_sdp(line) if line else None
            if candidate is not None:
                candidate.sdpMid = event.sdp_mid
                candidate.sdpMLineIndex = event.sdp_mline_index
            await self._connection.addIceCandidate(candidate)
        except SDP_ERRORS as reason:
            raise ProtocolError(
                ErrorCode.INVALID_SDP,
                f"The candidate {line[:80]!r} cannot be used ({reason}). Send the browser's "
                "RTCIceCandidate unchanged, with sdpMid or sdpMLineIndex.",
                "candidate",
            ) from None

    async def close(self) -> None:
        """End ICE, DTLS and both senders; nothing of the peer keeps running."""
        for track in self._tracks.values():
            track.stop()
        try:
            async with asyncio.timeout(CLOSE_S):
                # Shielded: aiortc may be closing it itself, and our limit must not cancel that.
                await asyncio.shield(self._connection.close())
        except TimeoutError:
            logger.error("a peer connection did not close within %d s", CLOSE_S)


def _kinds_wanted(offer: str) -> list[str]:
    """`audio` and `video`, if the offer can receive them."""
    try:
        description = SessionDescription.parse(offer)
    except SDP_ERRORS as reason:
        raise _bad_sdp(str(reason) or type(reason).__name__) from None
    media = description.media
    mids = {each.rtp.muxId for each in media if each.kind in KINDS}
    if any(not mids.issuperset(each.items) for each in description.group):
        # aiortc accepts it, then has no transport and cannot be closed.
        raise _bad_sdp("its BUNDLE group names a missing section")
    kinds = [each.kind for each in media if each.direction in RECEIVING and each.port]
    wanted: list[str] = [kind for kind in ("audio", "video") if kind in kinds]
    if not wanted:
        raise _bad_sdp("no audio or video section receives")
    if any(kinds.count(kind) > 1 for kind in wanted):
        raise _bad_sdp("two sections of one kind")
    if any(not each.dtls or not each.dtls.fingerprints for each in media if each.port):
        raise _bad_sdp("a section without a DTLS fingerprint")
    return wanted


def _bad_sdp(reason: str) -> ProtocolError:
    return ProtocolError(
        ErrorCode.INVALID_SDP,
        f"The offer cannot be answered ({reason[:160]}). It needs one audio and one video section "
        "that receive, bundled, with ICE and DTLS: send the SDP of createOffer unchanged.",
        "sdp",
    )
