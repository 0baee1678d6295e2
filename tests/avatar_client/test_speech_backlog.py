"""How much speech the server still holds."""

import pytest
from avatar_client.speech_backlog import SpeechBacklog


def test_nothing_is_played_before_the_server_reports_a_start():
    backlog = SpeechBacklog()
    backlog.sent(3.0)

    assert backlog.waiting_s(100.0) == 3.0


def test_played_speech_leaves_the_backlog_as_time_passes():
    backlog = SpeechBacklog()
    backlog.sent(3.0)
    backlog.started(100.0)
    backlog.reported(0.0)

    assert backlog.waiting_s(101.0) == pytest.approx(2.0)
    assert backlog.waiting_s(110.0) == 0.0


def test_the_report_of_a_late_server_counts_more_than_the_clock():
    backlog = SpeechBacklog()
    backlog.sent(3.0)
    backlog.started(100.0)
    backlog.reported(2.6)

    assert backlog.waiting_s(110.0) == pytest.approx(2.6)


def test_a_report_made_before_the_latest_speech_arrived_does_not_outrun_the_clock():
    backlog = SpeechBacklog()
    backlog.sent(20.0)
    backlog.started(100.0)
    backlog.reported(5.0)  # when a quarter had arrived

    assert backlog.waiting_s(100.5) == pytest.approx(19.5)


def test_the_next_item_waits_until_it_starts():
    backlog = SpeechBacklog()
    backlog.sent(2.0)
    backlog.started(100.0)
    backlog.sent(5.0)
    backlog.ended(2.0)

    assert backlog.waiting_s(104.0) == pytest.approx(5.0)


def test_an_interruption_empties_the_backlog():
    backlog = SpeechBacklog()
    backlog.sent(4.0)
    backlog.started(0.0)
    backlog.clear()

    assert backlog.waiting_s(1.0) == 0.0
    backlog.sent(1.0)
    assert backlog.waiting_s(1.0) == 1.0
