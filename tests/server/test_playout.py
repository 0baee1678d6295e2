import pytest

from server.playout import Playout
from server.protocol.errors import ProtocolError
from server.speech.lane import SpeakerLane


@pytest.fixture
def pair() -> Playout:
    return Playout(SpeakerLane(each, 60_000, 240, lambda event: None) for each in ("l", "r"))


def test_a_speaker_is_meant_by_name_by_number_or_the_first_by_nothing(pair):
    assert [pair.lane(each).speaker for each in ("r", 1, None)] == ["r", "r", "l"]


def test_no_speaker_means_all_where_all_are_possible(pair):
    assert [lane.speaker for lane in pair.lanes_of(None)] == ["l", "r"]
    assert [lane.speaker for lane in pair.lanes_of(1)] == ["r"]


@pytest.mark.parametrize("speaker", ["ghost", 2, 255])
def test_an_unknown_speaker_is_refused_with_the_names_there_are(pair, speaker):
    with pytest.raises(ProtocolError, match="l, r") as refused:
        pair.lane(speaker)
    assert refused.value.code == "unknown_speaker"
