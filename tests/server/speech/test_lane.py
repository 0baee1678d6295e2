import pytest

from server.protocol.errors import ProtocolError
from server.protocol.server_events import (
    BufferHigh,
    BufferStatus,
    InputCleared,
    InputCommitted,
    OutputCleared,
    OutputStopped,
)
from server.speech.lane import SpeakerLane
from server.speech.pcm import PcmFormat
from tests.support.serving.playing import loud as loud_at

PCM = PcmFormat()


def loud(ms: int) -> bytes:
    return loud_at(ms, PCM.rate)


class Lane:
    """A lane whose calls return the events that they sent."""

    SENDING = ("append", "commit", "clear_input", "interrupt", "frame_left")

    def __init__(self, buffer_ms: int) -> None:
        self._sent = []
        self._lane = SpeakerLane("ana", buffer_ms, 240, self._sent.append)

    def __getattr__(self, name: str):
        found = getattr(self._lane, name)

        def call(*args):
            self._sent.clear()
            found(*args)
            return list(self._sent)

        return call if name in self.SENDING else found


def a_lane(buffer_ms: int = 60_000) -> Lane:
    return Lane(buffer_ms)


def kinds(events) -> list[type]:
    return [type(event) for event in events]


def play(lane: SpeakerLane, frames: int, first: int = 0):
    events = []
    for frame in range(first, first + frames):
        lane.advance_to((frame + 1) * 640)
        events += lane.frame_left(frame, 40 * frame)
    return events


def refusal(call, *args) -> ProtocolError:
    with pytest.raises(ProtocolError) as refused:
        call(*args)
    return refused.value


def test_the_first_audio_opens_an_item_and_commit_closes_it():
    lane = a_lane()
    assert lane.append(loud(10), None, PCM) == []
    assert lane.has_open_item
    (committed,) = lane.commit(None)
    assert isinstance(committed, InputCommitted)
    assert not lane.has_open_item


def test_another_item_id_commits_the_item_before_it():
    lane = a_lane()
    lane.append(loud(10), "a", PCM)
    events = lane.append(loud(10), "b", PCM)
    assert [e.item_id for e in events] == ["a"]


def test_an_append_after_the_commit_of_its_item_is_refused():
    lane = a_lane()
    lane.append(loud(10), "a", PCM)
    lane.commit("a")
    assert refusal(lane.append, loud(10), "a", PCM).code == "item_closed"
    play(lane, 3)
    assert refusal(lane.append, loud(10), "a", PCM).code == "item_closed"


@pytest.mark.fault("turns")
def test_a_commit_without_audio_is_refused():
    """A commit without audio is refused."""
    assert refusal(a_lane().commit, None).code == "empty_commit"


def test_an_empty_item_still_ends_once():
    lane = a_lane()
    lane.append(b"", "a", PCM)
    lane.commit("a")
    ended = [e for e in play(lane, 5) if isinstance(e, OutputStopped)]
    assert [(e.item_id, e.audio_end_ms) for e in ended] == [("a", 0)]


def test_what_a_client_still_sends_of_an_item_that_it_interrupted_is_dropped():
    lane = a_lane()
    lane.append(loud(100), "a", PCM)
    assert kinds(lane.interrupt(0)) == [OutputCleared]
    assert lane.append(loud(100), "a", PCM) == []
    assert lane.commit("a") == []
    assert lane.queued_samples == 0


def test_a_commit_that_crosses_the_interruption_of_its_item_is_no_error():
    lane = a_lane()
    lane.append(loud(100), None, PCM)
    lane.interrupt(0)
    assert lane.commit(None) == []
    assert refusal(lane.commit, None).code == "empty_commit"


@pytest.mark.fault("turns")
def test_clearing_twice_and_before_any_audio_does_nothing():
    """Clearing twice, or before any audio, does nothing."""
    lane = a_lane()
    assert lane.interrupt(0) == []
    assert lane.interrupt(0) == []
    assert lane.clear_input() == [InputCleared(speaker="ana")]


def test_clearing_the_input_keeps_what_is_placed_and_ends_the_item_as_interrupted():
    lane = a_lane()
    lane.append(loud(1000), "a", PCM)
    lane.advance_to(3200)
    assert lane.clear_input() == [InputCleared(item_id="a", speaker="ana")]
    (ended,) = [e for e in play(lane, 10) if isinstance(e, OutputCleared | OutputStopped)]
    assert ended == OutputCleared(item_id="a", speaker="ana", audio_end_ms=200)


@pytest.mark.fault("pace")
def test_more_than_the_buffer_holds_is_refused_and_what_is_held_plays_on():
    """Speech beyond the queue is refused, and what is queued plays on."""
    lane = a_lane(1000)
    lane.append(loud(900), None, PCM)
    error = refusal(lane.append, loud(200), None, PCM)
    assert (error.code, error.retryable) == ("buffer_full", True)
    lane.append(loud(100), None, PCM)
    assert lane.queued_samples == 16_000


@pytest.mark.fault("pace")
def test_a_client_is_warned_before_the_buffer_is_full_and_told_when_there_is_room():
    """A client is warned before its queue is full, and told when there is room again."""
    lane = a_lane(1000)
    assert lane.append(loud(700), None, PCM) == []
    assert lane.append(loud(150), None, PCM) == [BufferHigh(speaker="ana", queued_ms=850)]
    assert lane.append(loud(20), None, PCM) == []
    lane.commit(None)
    told = [e.queued_ms for e in play(lane, 25) if isinstance(e, BufferStatus)]
    assert 470 in told


def test_what_is_queued_is_told_now_and_then_and_when_it_has_run_down():
    lane = a_lane()
    lane.append(loud(1000), None, PCM)
    lane.commit(None)
    told = [e.queued_ms for e in play(lane, 40) if isinstance(e, BufferStatus)]
    assert told == [960, 480, 0]


def test_after_a_rewind_sound_that_is_further_ahead_waits():
    lane = a_lane()
    lane.append(loud(1000), None, PCM)
    lane.advance_to(6400)
    assert lane.can_fill(3200)
    assert lane.advance_to(3200) == []
    assert [len(each) for each in lane.advance_to(9600)] == [3200]


def test_an_open_item_without_enough_sound_waits_whole():
    lane = a_lane()
    lane.append(loud(60), None, PCM)
    assert not lane.can_fill(2560)
    assert lane.advance_to(2560) == []
    lane.commit(None)
    assert lane.can_fill(5120)
    (sound,) = lane.advance_to(5120)
    assert len(sound) == 960


def test_items_follow_one_another_without_a_gap():
    lane = a_lane()
    for item in "ab":
        lane.append(loud(50), item, PCM)
        lane.commit(item)
    assert lane.can_fill(2560)
    assert [len(each) for each in lane.advance_to(2560)] == [800, 800]


def test_a_container_is_refused_and_opens_no_item():
    lane = a_lane()
    assert refusal(lane.append, b"RIFF....WAVE", None, PCM).code == "container_not_pcm"
    assert not lane.has_open_item
    assert refusal(lane.commit, None).code == "empty_commit"


@pytest.mark.fault("containers")
def test_a_containers_head_is_found_over_message_borders():
    """A file is recognised although its head is cut into messages."""
    lane = a_lane()
    lane.append(b"Og", None, PCM)
    assert refusal(lane.append, b"gS\x00\x02", None, PCM).code == "container_not_pcm"


def test_the_rest_of_a_refused_file_is_no_speech_until_commit_or_clear():
    lane = a_lane()
    refusal(lane.append, b"ID3" + b"\x21" * 97, "song", PCM)
    assert refusal(lane.append, loud(40), "song", PCM).code == "container_not_pcm"
    assert refusal(lane.append, loud(40), None, PCM).code == "container_not_pcm"
    assert lane.queued_samples == 0
    assert refusal(lane.commit, None).code == "empty_commit"
    lane.append(loud(40), None, PCM)
    assert lane.has_open_item


def test_a_new_item_after_a_refused_file_is_speech():
    lane = a_lane()
    refusal(lane.append, b"OggS" + b"\x21" * 97, "song", PCM)
    lane.append(loud(40), "speech", PCM)
    assert lane.has_open_item


@pytest.mark.fault("rates")
def test_the_format_of_an_item_is_the_one_it_was_opened_with():
    """The format of an item is the one that it was opened with."""
    lane = a_lane()
    lane.append(loud(100), "a", PCM)
    lane.append(loud(100), "a", PcmFormat(48_000))
    lane.commit("a")
    assert lane.queued_samples == 3200
