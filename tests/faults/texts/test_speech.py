"""Texts to speak of every kind, and clients that ask for too many or go away."""

import asyncio
import io
import os
import stat
import time
import wave

import httpx
import pytest
from fastapi import FastAPI

from server.api.errors import answer_errors
from server.api.tts import MAX_SPEECH_S, find_synthesizer, speech_router

SYNTHESIZER = find_synthesizer()
pytestmark = pytest.mark.skipif(SYNTHESIZER is None, reason="needs espeak-ng")


def client(synthesizer=SYNTHESIZER, address="10.0.0.1") -> httpx.AsyncClient:
    return clients(synthesizer, address)[0]


def clients(synthesizer, *addresses):
    """Clients of one server at several addresses."""
    app = FastAPI()
    answer_errors(app)
    app.include_router(speech_router(synthesizer))
    return [
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, client=(address, 1)), base_url="http://here"
        )
        for address in addresses
    ]


async def speak(http, text, **more):
    return await http.post("/v1/speech", json={"text": text, **more})


@pytest.fixture
def slow(tmp_path):
    """A synthesizer that notes its start in a file, then takes long."""
    program = tmp_path / "espeak-ng"
    program.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/started\nexec sleep 60\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


async def until(condition, *arguments) -> None:
    """Waits until `condition` holds; fails after 10 s."""
    for _ in range(1000):
        if condition(*arguments):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("waited in vain")


async def started(program, count=1) -> list[int]:
    """The ids of the processes, when there are `count`."""
    notes = program.parent / "started"
    await until(lambda: notes.exists() and len(notes.read_text().split()) >= count)
    return [int(each) for each in notes.read_text().split()]


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.fault("texts")
@pytest.mark.parametrize(
    ("text", "voice", "speed"),
    [("汉字" * 500, "en-us", 165), ("The end of all our exploring. " * 33, "en-us+f3", 80)],
)
async def test_speech_that_takes_too_long_is_refused_and_not_made_to_its_end(text, voice, speed):
    """A text that takes minutes to speak is refused, and its synthesis is stopped at the limit."""
    async with client() as http:
        answer = await speak(http, text, voice=voice, speed_wpm=speed)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "text_too_long"
    assert f"more than {MAX_SPEECH_S} s" in answer.json()["error"]["message"]


async def test_a_thousand_characters_of_plain_speech_are_spoken():
    async with client() as http:
        answer = await speak(http, ("The quick brown fox jumps over the lazy dog. " * 23)[:1000])
    with wave.open(io.BytesIO(answer.content)) as wav:
        assert 30 < wav.getnframes() / wav.getframerate() < MAX_SPEECH_S


@pytest.mark.fault("texts")
@pytest.mark.parametrize("text", ["...", "—", "   .", "\u200b", "\u202e", "«»", "_", "\n\n.\n"])
async def test_a_text_without_any_sound_is_refused(text):
    """A text of which nothing can be heard is refused, not answered with silence."""
    async with client() as http:
        answer = await speak(http, text)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "empty_text")


@pytest.mark.fault("texts")
@pytest.mark.parametrize("text", ["a\0b", "\x01+10Shello", "hi\x1b[31m", "\x7f", "hi\x9b"])
async def test_control_characters_are_refused(text):
    """A text with control characters is refused: espeak-ng would stop there, or obey them."""
    async with client() as http:
        answer = await speak(http, text)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_text")


@pytest.mark.fault("texts")
@pytest.mark.parametrize(
    "text",
    [
        *("<speak><break time='600s'/>hi</speak>", "<audio src='/etc/passwd'/>", "[[h@l'oU]] hi"),
        *("hi\r\nthere\t!", "😀", "مرحبا", "!!!", "-v de --help", "@file", "`id`; $(id) | id"),
    ],
)
async def test_markup_symbols_and_other_scripts_are_spoken_as_text(text):
    """Markup, phonemes, options and commands in a text are spoken, never obeyed."""
    async with client() as http:
        answer = await speak(http, text)
    assert answer.status_code == 200
    with wave.open(io.BytesIO(answer.content)) as wav:
        assert 0 < wav.getnframes() / wav.getframerate() < 30


async def test_phonemes_are_spelled_out_like_any_text():
    async with client() as http:
        phonemes, spelled = [await speak(http, text) for text in ("[[_:]] hi", "[ [_:]] hi")]
    assert phonemes.content == spelled.content


@pytest.mark.fault("texts")
async def test_a_client_that_goes_away_frees_its_turn_and_ends_the_process(slow):
    """Speech that nobody waits for any more is not made."""
    app = FastAPI()
    answer_errors(app)
    app.include_router(speech_router(slow))
    gone = asyncio.Event()
    body = b'{"text": "hello"}'
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/speech",
        "raw_path": b"/v1/speech",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "client": ("10.0.0.1", 1),
        "http_version": "1.1",
        "scheme": "http",
        "server": ("here", 80),
    }
    request = asyncio.create_task(app(scope, receive, send))
    (process,) = await started(slow)
    assert is_alive(process)
    gone.set()
    await asyncio.wait_for(request, 5)
    assert not is_alive(process)


@pytest.mark.fault("texts")
async def test_one_client_cannot_take_all_turns(slow):
    """Clients speak in turn, so many long texts of one client do not keep another waiting."""
    greedy, modest = clients(slow, "10.0.0.1", "10.0.0.2")
    async with greedy, modest:
        asked = [asyncio.create_task(speak(greedy, "long")) for _ in range(12)]
        await started(slow)
        await until(lambda: sum(each.done() for each in asked) == 3)
        for each in filter(asyncio.Task.done, asked):
            assert each.result().status_code == 429
            assert int(each.result().headers["retry-after"]) > 0
        asked.append(asyncio.create_task(speak(modest, "short")))
        assert len(await started(slow, 2)) == 2
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        processes = await started(slow)
        await until(lambda: not any(map(is_alive, processes)))


@pytest.mark.fault("texts")
async def test_a_synthesizer_that_hangs_is_ended(slow, monkeypatch):
    """A text that espeak-ng does not finish is refused after a while, and its process is ended."""
    monkeypatch.setattr("server.api.tts.TIMEOUT_S", 0.5)
    start = time.monotonic()
    async with client(slow) as http:
        answer = await speak(http, "hello")
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "speech_timeout")
    assert time.monotonic() - start < 10
    (process,) = await started(slow)
    assert not is_alive(process)
