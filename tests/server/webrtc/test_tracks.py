"""What a track does if its sender does not read it."""

import numpy as np
import pytest

from server.playout import Slice
from server.webrtc import tracks
from server.webrtc.tracks import WAITING_SLICES, VideoTrack, _Waiting


def played(slot: int) -> Slice:
    return Slice(slot, None, np.zeros((8, 8, 3), np.uint8), np.zeros(1920, np.int16))


@pytest.mark.fault("offers")
async def test_a_track_that_nobody_reads_holds_the_stream_once(monkeypatch):
    """A track that its sender does not read is left out, and the other one goes on."""
    monkeypatch.setattr(tracks, "UNREAD_S", 0.01)
    waiting = _Waiting[Slice](WAITING_SLICES, "video")
    for slot in range(200):
        await waiting.put(played(slot))
    track = VideoTrack(None)
    seen = [(await waiting.next(track)).slot for _ in range(WAITING_SLICES)]
    assert seen == list(range(WAITING_SLICES))
    await waiting.put(played(500))  # it reads again
    assert (await waiting.next(track)).slot == 500
    track.stop()
