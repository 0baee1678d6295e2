"""The events of one speaker: what is being played, who is speaking, how full the queue is."""

from server.protocol.outbox import Emit
from server.protocol.server_events import (
    AvatarState,
    BufferHigh,
    BufferStatus,
    InputCleared,
    InputCommitted,
    OutputCleared,
    OutputStarted,
    OutputStopped,
    SpeakerState,
)

IDLE_AFTER_FRAMES = 5
"""A speaker is idle 200 ms after its last sound, so that short pauses and items do not flap."""
STATUS_EVERY_FRAMES = 12
HIGH_WATER, LOW_WATER = 0.8, 0.5


class Announcer:
    """Sends a speaker's events through `emit`, each state change once."""

    def __init__(self, speaker: str, max_buffer_ms: int, emit: Emit) -> None:
        self.speaker = speaker
        self.state = SpeakerState.IDLE
        self._max_buffer_ms = max_buffer_ms
        self._emit = emit
        self._quiet_frames = 0
        self._is_high = False
        self._announced_ms = 0

    # ------------------------------------------------------------ items

    def committed(self, item_id: str) -> None:
        self._emit(InputCommitted(item_id=item_id, speaker=self.speaker))

    def input_cleared(self, item_id: str | None) -> None:
        self._emit(InputCleared(item_id=item_id, speaker=self.speaker))

    def started(self, item_id: str, media_time_ms: int) -> None:
        """The first sound of an item leaves, at that time of the media."""
        self._emit(
            OutputStarted(item_id=item_id, speaker=self.speaker, media_time_ms=media_time_ms)
        )
        if self.state is SpeakerState.IDLE:
            self._change_state(SpeakerState.SPEAKING)

    def ended(self, item_id: str, audio_end_ms: int, *, interrupted: bool) -> None:
        """An item has ended after `audio_end_ms` of it were played."""
        kind = OutputCleared if interrupted else OutputStopped
        self._emit(kind(item_id=item_id, speaker=self.speaker, audio_end_ms=audio_end_ms))

    # ------------------------------------------------------------ states

    def frame_left(self, frame: int, queued_ms: int, *, is_talking: bool) -> None:
        """Video frame `frame` left: report the queue, and idleness after a while."""
        self._report_queue(frame, queued_ms)
        self._quiet_frames = 0 if is_talking else self._quiet_frames + 1
        self._check_idle()

    def interrupted(self) -> None:
        """Everything was cut: idle at once."""
        self._quiet_frames = IDLE_AFTER_FRAMES
        self._check_idle()

    def queue_grew(self, queued_ms: int) -> None:
        """Warn once that the queue is nearly full."""
        if not self._is_high and queued_ms >= HIGH_WATER * self._max_buffer_ms:
            self._is_high = True
            self._emit(BufferHigh(speaker=self.speaker, queued_ms=queued_ms))

    def _report_queue(self, frame: int, queued_ms: int) -> None:
        """`buffer.status` twice a second while audio is queued, and when it has run down."""
        has_room = self._is_high and queued_ms <= LOW_WATER * self._max_buffer_ms
        self._is_high = self._is_high and not has_room
        ran_down = queued_ms == 0 and self._announced_ms > 0
        is_due = queued_ms > 0 and frame % STATUS_EVERY_FRAMES == 0
        if has_room or ran_down or is_due:
            self._announced_ms = queued_ms
            self._emit(BufferStatus(speaker=self.speaker, queued_ms=queued_ms))

    def _check_idle(self) -> None:
        if self.state is SpeakerState.SPEAKING and self._quiet_frames >= IDLE_AFTER_FRAMES:
            self._change_state(SpeakerState.IDLE)

    def _change_state(self, state: SpeakerState) -> None:
        self.state = state
        self._emit(AvatarState(speaker=self.speaker, state=str(state)))
