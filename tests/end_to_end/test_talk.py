"""`avatar talk` through a real server whose picture flashes exactly while its sound clicks."""

import asyncio
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from avatar_client.client import AvatarClient
from avatar_client.errors import AvatarClientError
from avatar_client.events import OutputStarted, OutputStopped

from client_demo.measure.talk import TalkPlan, talk
from server.config import Limits, ServerConfig
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import serving

RATE = 24_000


def bursts(seconds: float, every_s: float) -> np.ndarray:
    """A tone that is on in the last 0.2 s of every `every_s`."""
    times = np.arange(int(seconds * RATE)) / RATE
    on = times % every_s >= every_s - 0.2
    return (np.sin(2 * np.pi * 500 * times) * on * 24_000).astype("<i2")


def write_wav(path: Path, samples: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return path


def onsets(levels: list[tuple[float, float]], threshold: float) -> list[float]:
    """Times at which a level rises over the threshold after 0.1 s below."""
    found, quiet_since = [], 0.0
    for at, level in levels:
        if level > threshold:
            if at - quiet_since > 0.1:
                found.append(at)
            quiet_since = at
    return found


def flashes_and_clicks(path: Path) -> tuple[list[float], list[float]]:
    with av.open(str(path)) as container:
        pictures = [
            (frame.time, float(frame.to_ndarray(format="gray").mean()))
            for frame in container.decode(video=0)
        ]
    with av.open(str(path)) as container:
        sounds = [
            (frame.time + start / 48_000, float(np.abs(part[start : start + 96]).max()))
            for frame in container.decode(audio=0)
            for part in [frame.to_ndarray()[0]]
            for start in range(0, len(part), 96)
        ]
    return onsets(pictures, 130), onsets(sounds, 0.1)


def plan(stand, out: Path, *lines: tuple[str | None, Path], **more) -> TalkPlan:
    return TalkPlan(f"http://127.0.0.1:{stand.port}", lines, out, **more)


@pytest.fixture
async def stand(character_root):
    async with serving(ServerConfig(), FlashBackend(character_root)) as stand:
        yield stand


async def test_a_talk_is_recorded_with_its_sound_at_its_picture(stand, tmp_path):
    speech = write_wav(tmp_path / "a.wav", bursts(4.0, 0.8))
    out = tmp_path / "talk.mp4"

    report = await talk(plan(stand, out, (None, speech), character="ana"))

    flashes, clicks = flashes_and_clicks(out)
    assert len(flashes) == len(clicks) == 5
    offsets = np.array(flashes) - np.array(clicks)
    assert np.abs(offsets).max() <= 0.08
    assert report.recording_alignment == "packets"
    one = report.speakers[0]
    assert (one.played_ms, one.interrupted) == (4000, False)
    assert None not in (one.first_move_ms, one.first_sound_ms, one.started_ms)
    assert report.sound_ahead is not None
    assert abs(report.sound_ahead.ahead_ms) <= 80


async def test_an_interruption_is_measured_and_ends_the_talk(stand, tmp_path):
    speech = write_wav(tmp_path / "a.wav", bursts(8.0, 0.4))
    more = {"character": "ana", "interrupt_after_s": 0.5}

    report = await talk(plan(stand, tmp_path / "talk.mp4", (None, speech), **more))

    assert report.speakers[0].interrupted
    assert report.speakers[0].played_ms < 7000
    assert report.interruption is not None
    assert report.interruption.cleared_event_ms is not None


async def test_two_speakers_speak_side_by_side(stand, tmp_path):
    lines = [
        (name, write_wav(tmp_path / f"{name}.wav", bursts(2.0, 0.5))) for name in ("left", "right")
    ]

    report = await talk(plan(stand, tmp_path / "talk.mp4", *lines))

    assert report.character == "pair"  # chosen by the names of its speakers
    assert [one.speaker for one in report.speakers] == ["left", "right"]
    assert [one.played_ms for one in report.speakers] == [2000, 2000]


async def test_an_unknown_speaker_is_told_who_there_is(stand, tmp_path):
    speech = write_wav(tmp_path / "a.wav", bursts(1.0, 0.5))

    with pytest.raises(AvatarClientError, match=r"no speaker 'bob'.*left, right"):
        await talk(plan(stand, tmp_path / "talk.mp4", ("bob", speech), character="pair"))


async def test_speakers_that_no_character_has_together_are_refused_with_the_names_that_there_are(
    stand, tmp_path
):
    speech = write_wav(tmp_path / "a.wav", bursts(1.0, 0.5))

    with pytest.raises(
        AvatarClientError, match=r"No character .* the speakers ana, left[^$]*left \+ right"
    ):
        await talk(plan(stand, tmp_path / "talk.mp4", ("ana", speech), ("left", speech)))


async def test_two_files_for_one_speaker_are_refused(stand, tmp_path):
    speech = write_wav(tmp_path / "a.wav", bursts(1.0, 0.5))
    twice = (("left", speech), (None, speech))  # the first speaker, by name and unnamed

    with pytest.raises(AvatarClientError, match="left was given two files"):
        await talk(plan(stand, tmp_path / "talk.mp4", *twice, character="pair"))


async def test_an_unknown_character_is_refused_with_the_servers_words(stand):
    with pytest.raises(AvatarClientError, match="nobody") as refusal:
        await AvatarClient.connect(f"http://127.0.0.1:{stand.port}", "nobody")
    assert refusal.value.code == "unknown_character"


async def test_speech_longer_than_the_servers_buffer_is_sent_as_it_is_played(character_root):
    config = ServerConfig(limits=Limits(max_buffer_ms=2_000))
    async with (
        serving(config, FlashBackend(character_root)) as stand,
        await AvatarClient.connect(f"http://127.0.0.1:{stand.port}", "ana") as client,
    ):
        await client.open_media()
        with client.events() as events:
            assert await client.speak(bursts(5.0, 0.5).tobytes(), item_id="long")
            ended = [event async for event in _until_stopped(events)]

        assert ended[0].item_id == ended[-1].item_id == "long"
        assert ended[-1].audio_end_ms == 5000


async def _until_stopped(events):
    async with asyncio.timeout(60):
        async for event in events:
            if isinstance(event, OutputStarted | OutputStopped):
                yield event
            if isinstance(event, OutputStopped):
                return


async def test_an_interrupted_speech_is_not_sent_to_its_end(stand):
    async with await AvatarClient.connect(f"http://127.0.0.1:{stand.port}", "ana") as client:
        await client.open_media()

        async def endless():
            while True:
                yield bursts(0.4, 0.4).tobytes()
                await client.interrupt()

        assert await client.speak(endless()) is False


async def test_closing_the_client_ends_the_session_at_once(stand):
    client = await AvatarClient.connect(f"http://127.0.0.1:{stand.port}", "ana")
    await client.open_media()
    await client.aclose()

    for _ in range(200):
        if not stand.hub.sessions:
            break
        await asyncio.sleep(0.01)
    assert not stand.hub.sessions
