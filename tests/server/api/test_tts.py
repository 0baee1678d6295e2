"""Text to speech by espeak-ng."""

import io
import wave
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from server.api.errors import answer_errors
from server.api.tts import MAX_TEXT_CHARACTERS, find_synthesizer, speech_router, with_true_sizes


def client(synthesizer: Path | None) -> httpx.AsyncClient:
    app = FastAPI()
    answer_errors(app)
    app.include_router(speech_router(synthesizer))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here")


@pytest.fixture
async def speech():
    async with client(find_synthesizer()) as it:
        yield it


async def test_text_becomes_a_well_formed_wav_file(speech):
    answer = await speech.post("/v1/speech", json={"text": "Hello there.", "voice": "en-us+f3"})

    assert answer.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(answer.content)) as wav:
        samples = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
        assert (wav.getnchannels(), wav.getframerate()) == (1, 22_050)
    assert 0.3 < len(samples) / 22_050 < 5
    assert np.abs(samples).max() > 3000


async def test_slower_speech_is_longer(speech):
    sizes = [
        len(
            (
                await speech.post("/v1/speech", json={"text": "One two three", "speed_wpm": wpm})
            ).content
        )
        for wpm in (300, 100)
    ]
    assert sizes[1] > 1.5 * sizes[0]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"text": "  "}, "empty_text", "text"),
        ({"text": "a" * (MAX_TEXT_CHARACTERS + 1)}, "text_too_long", "text"),
        ({"text": "hi", "voice": "xx-nowhere"}, "unknown_voice", "voice"),
        ({"text": "hi", "voice": "--help"}, "unknown_voice", "voice"),
        ({"text": "hi", "voice": "../../etc/passwd"}, "unknown_voice", "voice"),
    ],
)
async def test_what_cannot_be_spoken_is_refused_by_name(speech, body, code, param):
    answer = await speech.post("/v1/speech", json=body)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param)


async def test_text_that_is_no_unicode_is_refused(speech):
    answer = await speech.post(
        "/v1/speech",
        content=b'{"text": "\\ud800"}',
        headers={"content-type": "application/json"},
    )
    assert answer.json()["error"]["code"] == "invalid_text"


async def test_text_that_looks_like_an_option_is_spoken(speech):
    answer = await speech.post("/v1/speech", json={"text": "-h --version; $(whoami)"})

    assert answer.status_code == 200


async def test_without_espeak_the_answer_says_what_to_install():
    async with client(None) as speech:
        answer = await speech.post("/v1/speech", json={"text": "hi"})

    assert answer.status_code == 501
    assert "apt-get install espeak-ng" in answer.json()["error"]["message"]


def test_chunks_before_the_data_are_skipped():
    header = b"RIFF\xff\xff\xff\x7fWAVE" + b"LIST\x03\x00\x00\x00abc\x00"
    form = b"fmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00"
    stream = header + form + b"data\x00\xf0\xff\x7f" + b"\x01\x00\x02\x00"

    with wave.open(io.BytesIO(with_true_sizes(stream))) as wav:
        assert (wav.getframerate(), wav.readframes(9)) == (8_000, b"\x01\x00\x02\x00")
