"""The latency table and its JSON."""

import io
import json

from rich.console import Console

from client_demo.measure.report import InterruptReport, SpeakerReport, TalkReport, show, since_ms
from client_demo.measure.stream_analysis import FrameDelivery, LipSyncOffset


def report(**changed) -> TalkReport:
    speaker = SpeakerReport("ana", "a.wav", 5000, 640, 700, 500, 2500, 2510, True, 10)
    fields = {
        "character": "ana",
        "out": "talk.mp4",
        "connect_ms": 80,
        "first_frame_ms": 300,
        "speakers": [speaker],
        "interruption": InterruptReport(12, 180, None),
        "sound_ahead": LipSyncOffset(-20, 0.8),
        "clock_offset_ms": 4.2,
        "recording_alignment": "packets",
        "flow": FrameDelivery(250, 25.0, 3, 1),
    }
    return TalkReport(**fields | changed)


def shown(one: TalkReport) -> str:
    text = io.StringIO()
    show(one, Console(file=text, width=120))
    return text.getvalue()


def test_the_table_shows_the_figures():
    table = shown(report())

    for cell in ("640 ms", "-20 ms", "+4.2 ms", "started → cleared", "interrupt → quiet", "3 / 1"):
        assert cell in table


def test_an_unknown_value_is_a_dash_and_never_a_number():
    table = shown(report(sound_ahead=None, clock_offset_ms=None, interruption=None))

    assert "interrupt →" not in table
    assert table.count("–") >= 2


def test_the_json_holds_every_figure():
    figures = json.loads(report().to_json())

    assert figures["speakers"][0]["first_move_ms"] == 640
    assert figures["flow"] == {"frames": 250, "fps": 25.0, "still": 3, "late": 1}


def test_unknown_times_have_no_difference():
    assert since_ms(1.0, 1.5) == 500
    assert since_ms(None, 1.5) is None
    assert since_ms(1.0, None) is None


def test_a_voice_within_the_mix_says_why_its_sound_is_unknown():
    one = SpeakerReport("ben", "b.wav", 5000, 818, None, 605, 5000, 5010, False, None, 3350)
    table = shown(report(speakers=[*report().speakers, one]))

    assert "ben: silence first" in table
    assert "3,350 ms" in table
    assert table.count("another voice was sounding") == 2
