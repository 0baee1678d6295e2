"""What waits on the server."""

import pytest
from avatar_client.speech_queue import SpeechQueue


def test_nothing_is_played_before_the_server_says_so():
    queue = SpeechQueue()
    queue.sent(3.0)

    assert queue.waiting_s(100.0) == 3.0


def test_what_is_heard_leaves_the_queue_as_time_goes():
    queue = SpeechQueue()
    queue.sent(3.0)
    queue.started(100.0)
    queue.told(0.0)

    assert queue.waiting_s(101.0) == pytest.approx(2.0)
    assert queue.waiting_s(110.0) == 0.0


def test_a_server_that_holds_the_sound_is_believed_and_not_the_clock():
    queue = SpeechQueue()
    queue.sent(3.0)
    queue.started(100.0)
    queue.told(2.6)

    assert queue.waiting_s(110.0) == pytest.approx(2.6)


def test_a_word_that_crossed_what_was_sent_since_does_not_outrun_the_clock():
    queue = SpeechQueue()
    queue.sent(20.0)
    queue.started(100.0)
    queue.told(5.0)  # when a quarter had arrived

    assert queue.waiting_s(100.5) == pytest.approx(19.5)


def test_the_next_item_waits_until_it_starts():
    queue = SpeechQueue()
    queue.sent(2.0)
    queue.started(100.0)
    queue.sent(5.0)
    queue.ended(2.0)

    assert queue.waiting_s(104.0) == pytest.approx(5.0)


def test_an_interruption_empties_the_queue():
    queue = SpeechQueue()
    queue.sent(4.0)
    queue.started(0.0)
    queue.cut()

    assert queue.waiting_s(1.0) == 0.0
    queue.sent(1.0)
    assert queue.waiting_s(1.0) == 1.0
