"""Text to speech over HTTP, by espeak-ng if it is installed.

`POST /v1/speech {"text": "Hello", "voice": "en-us+f3"}` answers `audio/wav`: mono PCM16, 22,050 Hz.
Without espeak-ng the route answers 501 and says what to install. `find_synthesizer` runs once, at
the server's start; sessions announce its result as the capability `tts`.
"""

import asyncio
import io
import re
import shutil
import struct
import unicodedata
import wave
from asyncio.subprocess import Process
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, TypeVar

from fastapi import APIRouter, Body, Request
from fastapi.responses import Response

from server.api.guard import client_address
from server.api.turns import Turns
from server.protocol.errors import ErrorCode, ProtocolError

MAX_TEXT_CHARACTERS = 1000  # about a minute of speech: what a session holds for one speaker
MAX_SPEECH_S = 90  # for slow voices, and for signs that are spelled out in another language
RATE_HZ, SAMPLE_BYTES = 22_050, 2  # of espeak-ng's output
LARGEST_HEAD = 1024  # bytes before the samples
DEFAULT_VOICE = "en-us+f3"
DEFAULT_SPEED_WPM = 165  # words a minute; espeak-ng takes 80 to 450
MAX_AT_ONCE = 2
TIMEOUT_S = 15.0

LONGEST_VOICE = 64
# A language of espeak-ng ("en-us", "cmn-latn-pinyin") and at most one variant ("+f3").
VOICE = re.compile(r"[a-z]{2,3}(-[a-z0-9]+)*(\+[A-Za-z0-9_]+)?")

PHONEMES = re.compile(r"\[(?=\[)")  # espeak-ng takes what is between [[ and ]] as phonemes

R = TypeVar("R")


def find_synthesizer() -> Path | None:
    """The espeak-ng executable on PATH, or None."""
    found = shutil.which("espeak-ng")
    return Path(found) if found else None


def speech_router(synthesizer: Path | None) -> APIRouter:
    """The route `/v1/speech`, speaking with `synthesizer` (501 if it is None)."""
    router = APIRouter(tags=["speech"])
    turns = Turns("texts to speak", MAX_AT_ONCE, of_one=8, of_all=32)

    @router.post(
        "/v1/speech",
        response_class=Response,
        responses={200: {"content": {"audio/wav": {}}}, 501: {"description": "no espeak-ng"}},
    )
    async def speak(
        request: Request,
        text: Annotated[str, Body()],
        voice: Annotated[str, Body()] = DEFAULT_VOICE,
        speed_wpm: Annotated[int, Body(ge=80, le=450)] = DEFAULT_SPEED_WPM,
    ) -> Response:
        """Speech for a text, as a WAV file: mono PCM16 at 22,050 Hz. Needs espeak-ng.

        JSON body: `text`, at most 1,000 characters and 90 s of speech; optional `voice`, such as
        `de+f2`, and `speed_wpm`, 80 to 450 words a minute. Clients take turns.
        """
        if synthesizer is None:
            raise _not_installed()
        _check(text, voice)

        async def in_turn() -> bytes:
            async with turns.turn(client_address(request.scope)):
                return await synthesize(synthesizer, text, voice, speed_wpm)

        wav = await _while_present(request, in_turn())
        return Response(wav, media_type="audio/wav", headers={"Cache-Control": "no-store"})

    return router


async def _while_present(request: Request, work: Coroutine[None, None, bytes]) -> bytes:
    """The result of `work`; empty, with the work cancelled, if the client goes away before."""
    task, gone = asyncio.create_task(work), asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else b""
    finally:
        await _end(task)
        await _end(gone)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _end(task: "asyncio.Task[R]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def synthesize(
    executable: Path, text: str, voice: str = DEFAULT_VOICE, speed_wpm: int = DEFAULT_SPEED_WPM
) -> bytes:
    """Speak `text` into a WAV file (mono PCM16, 22,050 Hz).

    Raises ProtocolError for text that is empty, soundless or too long, for an unknown voice, and if
    espeak-ng fails or takes longer than TIMEOUT_S.
    """
    _check(text, voice)
    command = ["-v", voice, "-s", str(speed_wpm), "-b", "1", "--stdin", "--stdout"]
    process = await asyncio.create_subprocess_exec(
        executable,
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, complaint = await _spoken(process, PHONEMES.sub("[ ", text))
            await process.wait()
    except TimeoutError:
        message = f"espeak-ng took longer than {TIMEOUT_S:.0f} s. Send a shorter text."
        raise ProtocolError(ErrorCode.SPEECH_TIMEOUT, message, "text") from None
    finally:
        if process.returncode is None:  # timed out, too long, or the client went away
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise _failure(voice, complaint)
    return _with_sound(with_true_sizes(out))


async def _spoken(process: Process, text: str) -> tuple[bytes, str]:
    """What espeak-ng writes and what it complains of; it is read no further than is allowed."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    most = LARGEST_HEAD + MAX_SPEECH_S * RATE_HZ * SAMPLE_BYTES
    process.stdin.write(text.encode())  # far less than a pipe holds
    process.stdin.close()
    complaints = asyncio.create_task(process.stderr.read(1000))
    try:
        out = bytearray()
        while piece := await process.stdout.read(1 << 16):
            out += piece
            if len(out) > most:
                raise _too_long()
        return bytes(out), (await complaints).decode(errors="replace").strip()
    finally:
        await _end(complaints)


def with_true_sizes(stream: bytes) -> bytes:
    """A WAV that was written to a pipe (its sizes are placeholders) as a well-formed file."""
    channels, rate, bits = 0, 0, 0
    at = 12
    while at + 8 <= len(stream):
        name, size = struct.unpack_from("<4sI", stream, at)
        if name == b"fmt ":
            _, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", stream, at + 8)
        if name == b"data":
            break
        at += 8 + size + size % 2
    else:
        message = "espeak-ng wrote no WAV data. Update espeak-ng."
        raise ProtocolError(ErrorCode.SPEECH_FAILED, message)
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(channels)
        wav.setsampwidth(bits // 8)
        wav.setframerate(rate)
        wav.writeframes(stream[at + 8 :])
    return file.getvalue()


def _with_sound(wav: bytes) -> bytes:
    """The WAV file; ProtocolError if it is silent all over."""
    with wave.open(io.BytesIO(wav)) as file:
        if not any(file.readframes(file.getnframes())):
            message = "Nothing in the text makes a sound in this voice. Send words to speak."
            raise ProtocolError(ErrorCode.EMPTY_TEXT, message, "text")
    return wav


def _check(text: str, voice: str) -> None:
    if not text.strip():
        raise ProtocolError(ErrorCode.EMPTY_TEXT, "The text is empty. Send words to speak.", "text")
    if len(text) > MAX_TEXT_CHARACTERS:
        message = (
            f"The text has {len(text)} characters; at most {MAX_TEXT_CHARACTERS} are spoken at "
            "once. Send it in parts."
        )
        raise ProtocolError(ErrorCode.TEXT_TOO_LONG, message, "text")
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        message = "The text holds half of a surrogate pair, which is not a character. Leave it out."
        raise ProtocolError(ErrorCode.INVALID_TEXT, message, "text")
    if any(unicodedata.category(sign) == "Cc" and not sign.isspace() for sign in text):
        message = "The text holds control characters. Leave them out; line ends and tabs are fine."
        raise ProtocolError(ErrorCode.INVALID_TEXT, message, "text")
    if len(voice) > LONGEST_VOICE or not VOICE.fullmatch(voice):
        raise _unknown_voice(voice)


def _too_long() -> ProtocolError:
    message = (
        f"The text takes more than {MAX_SPEECH_S} s to speak. Send it in parts, raise speed_wpm, "
        "or use a voice of the text's language: other scripts are spelled out sign by sign."
    )
    return ProtocolError(ErrorCode.TEXT_TOO_LONG, message, "text")


def _failure(voice: str, complaint: str) -> ProtocolError:
    if "voice does not exist" in complaint:
        return _unknown_voice(voice)
    message = f"espeak-ng failed: {complaint or 'no reason given'}."
    return ProtocolError(ErrorCode.SPEECH_FAILED, message)


def _unknown_voice(voice: str) -> ProtocolError:
    message = (
        f"There is no voice {voice[:LONGEST_VOICE]!r}. Use a language of espeak-ng, with or "
        "without a variant, such as en-us, de+f2 or fr+m3; `espeak-ng --voices` lists them."
    )
    return ProtocolError(ErrorCode.UNKNOWN_VOICE, message, "voice")


def _not_installed() -> ProtocolError:
    message = (
        "This server has no speech synthesis: espeak-ng was not found on PATH. Install it "
        "(apt-get install espeak-ng) and restart the server, or send speech as audio."
    )
    return ProtocolError(ErrorCode.SPEECH_NOT_INSTALLED, message)
