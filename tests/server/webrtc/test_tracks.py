"""What a track does if its sender does not read it."""

import numpy as np
import pytest

from server.playout import Slice
from server.webrtc import tracks
from server.webrtc.tracks import WAITING_SLICES, VideoTrack


def played(slot: int) -> Slice:
    return Slice(slot, np.zeros(1920, np.int16), np.zeros((8, 8, 3), np.uint8), None)


@pytest.mark.fault("offers")
async def test_a_track_that_nobody_reads_holds_the_stream_once(monkeypatch):
    """A track that its sender does not read is left out, and the other one goes on."""
    monkeypatch.setattr(tracks, "UNREAD_S", 0.01)
    track = VideoTrack()
    for slot in range(200):
        await track.push(played(slot), 0.0)
    seen = [(await track.recv()).pts for _ in range(WAITING_SLICES)]
    assert seen == [slot * 3_600 for slot in range(WAITING_SLICES)]
    await track.push(played(500), 0.0)  # it reads again
    assert (await track.recv()).pts == 500 * 3_600
    track.stop()
