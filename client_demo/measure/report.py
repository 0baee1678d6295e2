"""The figures of a talk, as a table for people and as JSON for machines."""

import dataclasses
import json
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from client_demo.measure.stream_analysis import FrameDelivery, LipSyncOffset


@dataclass(frozen=True, slots=True)
class SpeakerReport:
    """One speaker's figures. A value is None if it was not seen or heard.

    onset_ms: silence at the beginning of the file, before the first audible sound.
    first_move_ms: from sending the first audible bytes to the arrival of the first frame in
    which the mouth moves.
    first_sound_ms: from sending the first audible bytes to the arrival of audible sound.
    sound_after_event_ms: time of the sound's onset in the stream, minus the time that the event
    `started` gave.
    Both values of sound are also None if other voices sounded just before: all are one mix.
    """

    speaker: str
    file: str
    speech_ms: int
    first_move_ms: int | None
    first_sound_ms: int | None
    started_ms: int | None
    played_ms: int | None
    started_to_ended_ms: int | None
    interrupted: bool
    sound_after_event_ms: int | None
    onset_ms: int | None = None


@dataclass(frozen=True, slots=True)
class InterruptReport:
    """Times from sending the interruption to the event, the last open mouth and the last sound."""

    cleared_event_ms: int | None
    last_move_ms: int | None
    last_sound_ms: int | None


@dataclass(frozen=True, slots=True)
class TalkReport:
    """All figures of a talk.

    clock_offset_ms: how far the sender's reports put the first video frame after the first sound.
    """

    character: str
    out: str
    connect_ms: int | None
    first_frame_ms: int | None
    speakers: list[SpeakerReport]
    interruption: InterruptReport | None
    sound_ahead: LipSyncOffset | None
    clock_offset_ms: float | None
    recording_alignment: str
    flow: FrameDelivery
    recording_lost_frames: int = 0

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))


def since_ms(start_s: float | None, end_s: float | None) -> int | None:
    """Milliseconds from one loop time to another; None if either is unknown."""
    if start_s is None or end_s is None:
        return None
    return round((end_s - start_s) * 1000)


def show(report: TalkReport, console: Console) -> None:
    """Print the report as a table."""
    table = Table(title=f"{report.character} → {report.out}", title_justify="left")
    table.add_column("measured")
    table.add_column("value", justify="right")
    table.add_column("meaning", style="dim")
    table.add_row("connect", _ms(report.connect_ms), "socket open, session granted")
    table.add_row("first frame", _ms(report.first_frame_ms), "since the start, WebRTC included")
    for speaker in report.speakers:
        _add_speaker(table, speaker, len(report.speakers) > 1)
    if report.interruption is not None:
        _add_interruption(table, report.interruption)
    _add_offset(table, report)
    flow = report.flow
    table.add_row("frames", f"{flow.frames}", f"{flow.fps} a second")
    table.add_row(
        "still / late", f"{flow.still} / {flow.late}", "equal to the one before / over 20 ms late"
    )
    if report.recording_lost_frames:
        table.add_row(
            "not recorded", f"{report.recording_lost_frames}", "frames; the encoder was too slow"
        )
    console.print(table)


def _add_speaker(table: Table, one: SpeakerReport, several: bool) -> None:
    table.add_section()
    prefix = f"{one.speaker}: " if several else ""
    if several:
        table.add_row(f"{prefix}silence first", _ms(one.onset_ms), "in the file, before the voice")
    table.add_row(
        f"{prefix}first movement", _ms(one.first_move_ms), "first audible bytes sent → mouth moves"
    )
    heard = "first audible bytes sent → audible here (80 ms jitter buffer included)"
    after = "onset in the stream, minus the event's time"
    if several and one.first_sound_ms is None:
        heard = after = "unknown: another voice was sounding, and voices arrive as one mix"
    table.add_row(f"{prefix}first sound", _ms(one.first_sound_ms), heard)
    table.add_row(f"{prefix}started", _ms(one.started_ms), "first bytes sent → event")
    table.add_row(f"{prefix}sound after its event", _ms(one.sound_after_event_ms), after)
    end = "cleared" if one.interrupted else "stopped"
    table.add_row(
        f"{prefix}started → {end}",
        _ms(one.started_to_ended_ms),
        f"played {_ms(one.played_ms)} of {_ms(one.speech_ms)}",
    )


def _add_interruption(table: Table, interruption: InterruptReport) -> None:
    table.add_section()
    table.add_row("interrupt → cleared", _ms(interruption.cleared_event_ms), "event")
    table.add_row("interrupt → mouth closed", _ms(interruption.last_move_ms), "last open mouth")
    table.add_row("interrupt → quiet", _ms(interruption.last_sound_ms), "last audible sound")


def _add_offset(table: Table, report: TalkReport) -> None:
    table.add_section()
    offset = report.sound_ahead
    value = "–" if offset is None else f"{offset.ahead_ms:+d} ms"
    meaning = "unknown: mouth and loudness differ too much"
    if len(report.speakers) > 1:
        meaning = "unknown: several voices are one mix"
    if offset is not None:
        meaning = f"sound ahead of mouth, by correlation ({offset.correlation}); ± 20 ms"
    table.add_row("A/V offset, seen", value, meaning)
    clock = report.clock_offset_ms
    table.add_row(
        "A/V offset, clocks",
        "–" if clock is None else f"{clock:+.1f} ms",
        "first video frame after first sound, by the sender's reports",
    )


def _ms(value: int | None) -> str:
    return "–" if value is None else f"{value:,} ms"
