"""A network link with little bandwidth, a bounded queue, delay, loss and jitter.

`Link` is pure: it says when a datagram arrives. `shape` puts links between a real aiortc peer of a
client and its server, inside the client's process.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aioice.ice import Connection
from aiortc import RTCPeerConnection

HEAD_BYTES = 28  # IPv4 and UDP


@dataclass
class Link:
    """One direction. The first datagram that the queue has no room for is dropped, as in a router.

    Fields may change while it is used: `bps` None is a free link.
    """

    bps: float | None = None
    queue_bytes: int = 16_000
    delay_s: float = 0.02
    loss: float = 0.0
    jitter_s: float = 0.0
    keeps_order: bool = True
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    sent: int = 0
    dropped: int = 0
    bytes: int = 0
    _free_at: float = 0.0
    _arrived_at: float = 0.0

    def arrival(self, size: int, now: float) -> float | None:
        """When a datagram that is sent now arrives; None if it is lost."""
        self.sent += 1
        self.bytes += size + HEAD_BYTES
        bits = 8 * (size + HEAD_BYTES)
        waits_s = max(0.0, self._free_at - now) if self.bps else 0.0
        is_full = self.bps is not None and waits_s * self.bps > 8 * self.queue_bytes
        if is_full or self.chance.random() < self.loss:
            self.dropped += 1
            return None
        left = now
        if self.bps:
            left = self._free_at = max(now, self._free_at) + bits / self.bps
        at = left + self.delay_s + self.chance.uniform(0, self.jitter_s)
        if self.keeps_order:
            at = max(at, self._arrived_at)
        self._arrived_at = max(at, self._arrived_at)
        return at


def shape(peer: RTCPeerConnection, down: Link, up: Link) -> None:
    """Carry what `peer` receives over `down` and what it sends over `up`; call it once it has
    gathered its candidates (after setLocalDescription).
    """
    for connection in _connections(peer):
        for protocol in connection._protocols:
            socket = protocol.transport
            protocol.datagram_received = _carried(
                down, protocol.datagram_received, socket.is_closing
            )
            # aioice sends by the socket's own sendto, DTLS and STUN alike.
            protocol.transport = _Wire(socket, _carried(up, socket.sendto, socket.is_closing))


def _connections(peer: RTCPeerConnection) -> Iterator[Connection]:
    for transport in {each.receiver.transport.transport for each in peer.getTransceivers()}:
        yield transport.iceGatherer._connection


class _Wire:
    """A datagram transport whose `sendto` is another one."""

    def __init__(self, transport: Any, sendto: Callable[..., None]) -> None:
        self._transport = transport
        self.sendto = sendto

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _carried(
    link: Link, carry: Callable[..., Any], is_closed: Callable[[], bool]
) -> Callable[..., None]:
    loop = asyncio.get_running_loop()

    def sent(data: bytes, address: Any) -> None:
        at = link.arrival(len(data), loop.time())
        if at is not None:
            loop.call_at(at, arrive, data, address)

    def arrive(data: bytes, address: Any) -> None:
        if not is_closed():
            carry(data, address)

    return sent
