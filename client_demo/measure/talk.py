"""One measured talk with a server: speech goes in, the stream is recorded and analysed."""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from avatar_client.characters import find_character
from avatar_client.client import DEFAULT_RATE, AvatarClient
from avatar_client.errors import AvatarClientError
from avatar_client.events import OutputCleared, OutputStarted, OutputStopped
from avatar_client.media_files.output_name import check_video_output
from avatar_client.received_media import ReceivedMedia
from avatar_client.recording import Recorder
from avatar_client.session_socket import EventReader, expect
from avatar_client.stream_clock import offset_by_reports_us

from client_demo.measure import stream_analysis
from client_demo.measure.audio_file import (
    AUDIBLE,
    CHUNK_MS,
    SpeechFile,
    at_speaking_pace,
    read_speech,
    sound_onset,
)
from client_demo.measure.observer import StreamObserver
from client_demo.measure.report import InterruptReport, SpeakerReport, TalkReport, since_ms

logger = logging.getLogger(__name__)

REST_S = 1.5  # of rest watched before the first speech
AFTER_S = 0.8  # watched after the last, so that the mouth closes
FIRST_FRAME_TIMEOUT_S = 20.0
PACKETS_TIMEOUT_S = 5.0
EXTRA_WAIT_S = 30.0
SLOWEST = 4  # times the speech's length, plus EXTRA_WAIT_S: longer means that the server hangs


@dataclass(frozen=True, slots=True)
class TalkPlan:
    """(speaker, sound file) pairs to speak at the same time; None is the first speaker.

    Without `character`, the first one with all named speakers is used, or the server's default.
    `tell` shows a sentence to the user.
    """

    url: str
    lines: tuple[tuple[str | None, Path], ...]
    out: Path
    character: str | None = None
    api_key: str | None = None
    pace: Literal["realtime", "fast"] = "realtime"
    interrupt_after_s: float | None = None
    tell: Callable[[str], None] = logger.warning


@dataclass(slots=True)
class Line:
    """One speaker's speech and its progress; times are those of the event loop.

    `onset_ms`: position of the first audible sound in the speech; None if all of it is quiet.
    """

    speaker: str
    path: Path
    speech: SpeechFile
    onset_ms: int | None
    first_sent_s: float | None = None
    voice_sent_s: float | None = None  # when the first audible sample was sent
    started: tuple[float, OutputStarted] | None = None
    ended: tuple[float, OutputStopped | OutputCleared] | None = None


async def talk(plan: TalkPlan) -> TalkReport:
    """Hold the talk, write `plan.out` and report what was measured.

    Raises AudioFileError, AvatarClientError; RecordingError is one of the latter.
    """
    check_video_output(plan.out, [path for _, path in plan.lines])
    speeches = [read_speech(path, DEFAULT_RATE) for _, path in plan.lines]
    for note in [note for speech in speeches for note in speech.notes]:
        plan.tell(note)
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    character = plan.character
    names = {name for name, _ in plan.lines if name is not None}
    if character is None and names:
        character = await find_character(plan.url, names, plan.api_key)
    client = await AvatarClient.connect(plan.url, character, api_key=plan.api_key)
    connected_s = loop.time()
    async with client:
        first = client.session.speakers[0].id
        named = zip(plan.lines, speeches, strict=True)
        lines = [
            Line(name or first, path, speech, _onset_ms(speech)) for (name, path), speech in named
        ]
        _check_each_speaks_once(lines)
        observer = StreamObserver({one.id: asdict(one.box) for one in client.session.speakers})
        client.media.tap(observer)
        recorder = client.record(plan.out)
        await client.open_media()
        await _wait_for_rest(client, observer)
        interrupted_s = await _converse(client, plan, lines)
        await asyncio.sleep(AFTER_S)
        await recorder.aclose()
        return _report(
            plan, client, lines, observer, (begun_s, connected_s, interrupted_s), recorder
        )


def _check_each_speaks_once(lines: list[Line]) -> None:
    for number, line in enumerate(lines):
        if line.speaker in [one.speaker for one in lines[:number]]:
            raise AvatarClientError(
                f"{line.speaker} was given two files. Give each speaker one, such as "
                "ana=a.wav ben=b.wav, or join the files."
            )


def _onset_ms(speech: SpeechFile) -> int | None:
    onset = sound_onset(speech.samples, speech.rate)
    return None if onset is None else onset * 1000 // speech.rate


async def _wait_for_rest(client: AvatarClient, observer: StreamObserver) -> None:
    """Wait for a frame and for the tracks' offset, then watch REST_S of the idle stream."""
    try:
        async with asyncio.timeout(FIRST_FRAME_TIMEOUT_S):
            await observer.has_frame.wait()
    except TimeoutError:
        raise AvatarClientError(
            f"No video frame arrived within {FIRST_FRAME_TIMEOUT_S:.0f} s. Check that UDP between "
            "this machine and the server is open; the server's log lists the candidates."
        ) from None
    with contextlib.suppress(TimeoutError):  # then the report shows it as unknown
        async with asyncio.timeout(PACKETS_TIMEOUT_S):
            await client.media.synchronised.wait()
    await asyncio.sleep(REST_S)


async def _converse(client: AvatarClient, plan: TalkPlan, lines: list[Line]) -> float | None:
    """Speak all lines at once and wait for their ends. Returns the time of the interruption."""
    timeout_s = SLOWEST * max(line.speech.duration_s for line in lines) + EXTRA_WAIT_S
    with client.events() as events:
        following = asyncio.create_task(_follow(events, lines))
        speaking = [asyncio.create_task(_say(client, line, plan.pace)) for line in lines]
        tasks = [following, *speaking]
        try:
            async with asyncio.timeout(timeout_s):
                interrupted_s = None
                if plan.interrupt_after_s is not None:
                    interrupted_s = await _interrupt(client, plan, following)
                await asyncio.gather(*tasks)
        except TimeoutError:
            raise AvatarClientError(
                f"The speech did not end within {timeout_s:.0f} s: the server is too slow. "
                "Its log and GET /metrics show how late it is."
            ) from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return interrupted_s


async def _say(client: AvatarClient, line: Line, pace: Literal["realtime", "fast"]) -> None:
    chunks = at_speaking_pace(line.speech) if pace == "realtime" else _at_once(line.speech)
    await client.speak(_timed(chunks, line), line.speaker)


async def _at_once(speech: SpeechFile) -> AsyncIterator[bytes]:
    for chunk in speech.chunks():
        yield chunk


async def _timed(chunks: AsyncIterator[bytes], line: Line) -> AsyncIterator[bytes]:
    """Yield `chunks`; note the times of the first one and of the first audible one."""
    loop = asyncio.get_running_loop()
    first_audible = None if line.onset_ms is None else line.onset_ms // CHUNK_MS
    index = 0
    async for chunk in chunks:
        if index == 0:
            line.first_sent_s = loop.time()
        if index == first_audible:
            line.voice_sent_s = loop.time()
        index += 1
        yield chunk


async def _follow(events: EventReader, lines: list[Line]) -> None:
    """Note the start and end of every line until all have ended."""
    loop = asyncio.get_running_loop()
    by_speaker = {line.speaker: line for line in lines}
    async for event in events:
        if isinstance(event, OutputStarted) and event.speaker in by_speaker:
            by_speaker[event.speaker].started = (loop.time(), event)
        elif isinstance(event, OutputStopped | OutputCleared) and event.speaker in by_speaker:
            by_speaker[event.speaker].ended = (loop.time(), event)
            if all(line.ended for line in lines):
                return
    raise AvatarClientError(
        "The session ended while the character spoke. The server's log has the reason."
    )


async def _interrupt(
    client: AvatarClient, plan: TalkPlan, following: "asyncio.Task[None]"
) -> float | None:
    """Interrupt all speakers some seconds after the first line starts to play.

    Returns the time of it; None if the speech was over before.
    """
    assert plan.interrupt_after_s is not None
    with client.events() as events:
        await expect(events, OutputStarted, EXTRA_WAIT_S)
    ended, _ = await asyncio.wait([following], timeout=plan.interrupt_after_s)
    if ended:
        plan.tell(
            f"Nothing was interrupted: the speech was over before {plan.interrupt_after_s:g} s."
        )
        return None
    await client.interrupt()
    return asyncio.get_running_loop().time()


def _report(
    plan: TalkPlan,
    client: AvatarClient,
    lines: list[Line],
    observer: StreamObserver,
    times_s: tuple[float, float, float | None],
    recorder: Recorder,
) -> TalkReport:
    begun_s, connected_s, interrupted_s = times_s
    fps = client.session.video.fps
    moves = {line.speaker: _movement(line, observer) for line in lines}
    first = min(lines, key=lambda line: line.voice_sent_s or math.inf)
    clocks = client.media.clocks
    offset_us = offset_by_reports_us(clocks["audio"], clocks["video"])
    return TalkReport(
        character=client.session.character,
        out=str(plan.out),
        connect_ms=since_ms(begun_s, connected_s),
        first_frame_ms=since_ms(begun_s, observer.first_frame_s),
        speakers=[
            _speaker_report(line, observer, moves[line.speaker], line is first) for line in lines
        ],
        interruption=_interruption(interrupted_s, lines, observer, moves),
        sound_ahead=_offset(client.media, lines, observer, moves),
        clock_offset_ms=None if offset_us is None else round(offset_us / 1000, 1),
        recording_alignment=recorder.alignment,
        recording_lost_frames=recorder.lost_frames,
        flow=stream_analysis.frame_delivery(observer.frames[lines[0].speaker], fps),
    )


def _movement(line: Line, observer: StreamObserver) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    assert line.first_sent_s is not None  # every line was started
    return stream_analysis.movement(observer.frames[line.speaker], line.first_sent_s)


def _speaker_report(
    line: Line,
    observer: StreamObserver,
    moved: np.ndarray[tuple[int], np.dtype[np.float64]],
    is_first: bool,
) -> SpeakerReport:
    sent_s, voice_s, started = line.first_sent_s, line.voice_sent_s, line.started
    move_s = None
    if voice_s is not None:
        move_s = stream_analysis.first_move_s(observer.frames[line.speaker], moved, voice_s)
    sound = _onset(line, observer, is_first)
    late_ms = None
    if sound is not None and started is not None and line.onset_ms is not None:
        sound_ms = round(sound.pts / stream_analysis.AUDIO_TICKS_PER_MS)
        late_ms = sound_ms - started[1].media_time_ms - line.onset_ms
    return SpeakerReport(
        speaker=line.speaker,
        file=str(line.path),
        speech_ms=round(line.speech.duration_s * 1000),
        first_move_ms=since_ms(voice_s, move_s),
        first_sound_ms=since_ms(voice_s, sound.arrived_s if sound else None),
        started_ms=since_ms(sent_s, started[0] if started else None),
        played_ms=line.ended[1].audio_end_ms if line.ended else None,
        started_to_ended_ms=since_ms(started[0], line.ended[0]) if started and line.ended else None,
        interrupted=bool(line.ended and line.ended[1].interrupted),
        sound_after_event_ms=late_ms,
        onset_ms=line.onset_ms,
    )


def _onset(
    line: Line, observer: StreamObserver, is_first: bool
) -> stream_analysis.SoundLevel | None:
    """The first sound of this line. All voices arrive as one mix, so a later speaker's onset shows
    only if the others are quiet just before.
    """
    if is_first:
        return stream_analysis.first_sound(observer.levels, line.first_sent_s or 0.0, AUDIBLE)
    if line.started is None or line.onset_ms is None:
        return None
    expected_ms = line.started[1].media_time_ms + line.onset_ms
    return stream_analysis.onset_near(observer.levels, expected_ms, AUDIBLE)


def _interruption(
    interrupted_s: float | None,
    lines: list[Line],
    observer: StreamObserver,
    moves: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]],
) -> InterruptReport | None:
    if interrupted_s is None:
        return None
    last_moves = [stream_analysis.last_move_s(observer.frames[one], moves[one]) for one in moves]
    loud = [level.arrived_s for level in observer.levels if level.loudness >= AUDIBLE]
    cleared = [line.ended[0] for line in lines if line.ended]
    return InterruptReport(
        cleared_event_ms=since_ms(interrupted_s, max(cleared, default=None)),
        last_move_ms=since_ms(interrupted_s, max((x for x in last_moves if x), default=None)),
        last_sound_ms=since_ms(interrupted_s, max(loud, default=None)),
    )


def _offset(
    media: ReceivedMedia,
    lines: list[Line],
    observer: StreamObserver,
    moves: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]],
) -> stream_analysis.LipSyncOffset | None:
    """None for several speakers: their sound is one mix."""
    if len(lines) != 1 or not observer.levels or not media.synchronised.is_set():
        return None
    speaker = lines[0].speaker
    return stream_analysis.sound_ahead(
        np.array([media.timestamp_us("video", one.pts) for one in observer.frames[speaker]]),
        moves[speaker],
        np.array([media.timestamp_us("audio", one.pts) for one in observer.levels]),
        np.array([one.loudness for one in observer.levels]),
    )
