"""Between aiortc's transport and our sender: what packets leave, and what a client reports.

aiortc sends each packet again that a client names, as often as it names it, and a report that
cannot be read ends its connection. This module takes its place there. It depends on private parts
of aiortc's RTCDtlsTransport and RTCRtpSender: tests/server/webrtc/sending/test_feedback.py.
"""

import struct
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

from aiortc import RTCDtlsTransport, RTCPeerConnection, RTCRtpSender
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    is_rtcp,
    unpack_remb_fci,
)
from aiortc.sdp import SessionDescription

from server.budget import TokenBucket
from server.webrtc.sending.sender import Sender

WIRE_BYTES = 38
"""IP, UDP and the tag of SRTP around an RTP packet."""
REPORTS_PER_S = 200.0
"""Reports that are read; browsers send 2 to 50 a second."""
BAD_REPORTS = (ValueError, IndexError, struct.error)
"""aiortc's parser indexes and unpacks as it reads."""


@runtime_checkable
class EncodingTrack(Protocol):
    """A track that yields packets of the codec that was agreed on."""

    def encode_as(self, mime_type: str) -> None: ...


def attach(peer: RTCPeerConnection, sender: Sender) -> None:
    """Let `sender` see and decide what the peer's senders do; call it once the peer has its answer
    as local description.
    """
    sdp = peer.localDescription.sdp
    sections = {each.rtp.muxId: each for each in SessionDescription.parse(sdp).media}
    sending = []
    for each in peer.getTransceivers():
        track, section = each.sender.track, sections.get(each.mid or "")
        if isinstance(track, EncodingTrack) and section is not None and section.rtp.codecs:
            track.encode_as(section.rtp.codecs[0].mimeType)
            sending.append(each.sender)
    for transport in dict.fromkeys(each.transport for each in sending):
        Feedback(transport, [s for s in sending if s.transport is transport], sender)


class Feedback:
    """One transport's packets, seen on their way out, and its reports on their way in."""

    def __init__(
        self,
        transport: RTCDtlsTransport,
        senders: list[RTCRtpSender],
        sender: Sender,
    ) -> None:
        self._by_ssrc = {each._ssrc: each for each in senders}
        self._sender = sender
        self._reports = TokenBucket(REPORTS_PER_S, REPORTS_PER_S)
        # Attributes of the object hide its class's methods.
        part: Any = transport
        part._send_rtp = partial(self._leave, transport._send_rtp)
        part._handle_rtcp_data = self._report

    async def _leave(self, send: Callable[[bytes], Awaitable[None]], data: bytes) -> None:
        await send(data)
        size = len(data) + WIRE_BYTES
        number, _, ssrc = struct.unpack_from("!HLL", data, 2) if len(data) >= 12 else (0, 0, 0)
        owner = None if is_rtcp(data) else self._by_ssrc.get(ssrc)
        if owner is None:
            self._sender.again_left(size)
        else:
            self._sender.packet_left(owner.kind, number, size)

    async def _report(self, data: bytes) -> None:
        if not self._reports.take(self._sender.now()):
            self._sender.metrics.reports_dropped.inc()
            return
        try:
            for packet in RtcpPacket.parse(data):
                await self._act(packet)
        except BAD_REPORTS:
            self._sender.metrics.reports_dropped.inc()

    async def _act(self, packet: object) -> None:
        match packet:
            case RtcpRrPacket() | RtcpSrPacket():
                for each in packet.reports:
                    self._reported(each)
            case RtcpRtpfbPacket(fmt=fmt) if fmt == RTCP_RTPFB_NACK:
                await self._send_again(packet)
            case RtcpPsfbPacket(fmt=fmt) if fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
                self._sender.key_frames.ask()
            case RtcpPsfbPacket(fmt=fmt) if fmt == RTCP_PSFB_APP:
                bps, ssrcs = unpack_remb_fci(packet.fci)
                if self._by_ssrc.keys() & set(ssrcs):
                    self._sender.estimated(bps)

    def _reported(self, report: Any) -> None:
        owner = self._by_ssrc.get(report.ssrc)
        if owner is not None:
            lost = report.fraction_lost / 256
            self._sender.reported(owner.kind, report.highest_sequence, lost, report.jitter)

    async def _send_again(self, request: RtcpRtpfbPacket) -> None:
        owner = self._by_ssrc.get(request.media_ssrc)
        if owner is None:
            return
        for number in self._sender.asked_again(owner.kind, request.lost):
            await owner._retransmit(number)
