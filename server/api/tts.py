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
import wave
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Body
from fastapi.responses import Response

from server.api.errors import error_response
from server.protocol.errors import ErrorCode, ProtocolError

MAX_TEXT_CHARACTERS = 1000  # about a minute of speech: what a session holds for one speaker
DEFAULT_VOICE = "en-us+f3"
DEFAULT_SPEED_WPM = 165  # words a minute; espeak-ng takes 80 to 450
MAX_AT_ONCE = 2
TIMEOUT_S = 15.0

# A language of espeak-ng ("en-us", "cmn-latn-pinyin") and at most one variant ("+f3").
VOICE = re.compile(r"[a-z]{2,3}(-[a-z0-9]+)*(\+[A-Za-z0-9_]+)?")


def find_synthesizer() -> Path | None:
    """The espeak-ng executable on PATH, or None."""
    found = shutil.which("espeak-ng")
    return Path(found) if found else None


def speech_router(synthesizer: Path | None) -> APIRouter:
    """The route `/v1/speech`, speaking with `synthesizer` (501 if it is None)."""
    router = APIRouter(tags=["speech"])
    turns = asyncio.Semaphore(MAX_AT_ONCE)

    @router.post(
        "/v1/speech",
        response_class=Response,
        responses={200: {"content": {"audio/wav": {}}}, 501: {"description": "no espeak-ng"}},
    )
    async def speak(
        text: Annotated[str, Body()],
        voice: Annotated[str, Body()] = DEFAULT_VOICE,
        speed_wpm: Annotated[int, Body(ge=80, le=450)] = DEFAULT_SPEED_WPM,
    ) -> Response:
        """Speech for a text, as a WAV file: mono PCM16 at 22,050 Hz. Needs espeak-ng.

        JSON body: `text`, at most 1,000 characters; optional `voice`, such as `de+f2`, and
        `speed_wpm`, 80 to 450 words a minute.
        """
        try:
            if synthesizer is None:
                raise _not_installed()
            async with turns:
                wav = await synthesize(synthesizer, text, voice, speed_wpm)
        except ProtocolError as reason:
            return error_response(reason)
        return Response(wav, media_type="audio/wav", headers={"Cache-Control": "no-store"})

    return router


async def synthesize(
    executable: Path, text: str, voice: str = DEFAULT_VOICE, speed_wpm: int = DEFAULT_SPEED_WPM
) -> bytes:
    """Speak `text` into a WAV file (mono PCM16, 22,050 Hz).

    Raises ProtocolError for text that is empty or too long, for an unknown voice, and when
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
            out, complaint = await process.communicate(text.encode())
    except TimeoutError:
        message = f"espeak-ng took longer than {TIMEOUT_S:.0f} s. Send a shorter text."
        raise ProtocolError(ErrorCode.SPEECH_TIMEOUT, message, "text") from None
    finally:
        if process.returncode is None:  # timed out, or the client went away
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise _failure(voice, complaint.decode(errors="replace").strip())
    return with_true_sizes(out)


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
    if not VOICE.fullmatch(voice):
        raise _unknown_voice(voice)


def _failure(voice: str, complaint: str) -> ProtocolError:
    if "voice does not exist" in complaint:
        return _unknown_voice(voice)
    message = f"espeak-ng failed: {complaint or 'no reason given'}."
    return ProtocolError(ErrorCode.SPEECH_FAILED, message)


def _unknown_voice(voice: str) -> ProtocolError:
    message = (
        f"There is no voice {voice!r}. Use a language of espeak-ng, with or without a variant, "
        "such as en-us, de+f2 or fr+m3; `espeak-ng --voices` lists them."
    )
    return ProtocolError(ErrorCode.UNKNOWN_VOICE, message, "voice")


def _not_installed() -> ProtocolError:
    message = (
        "This server has no speech synthesis: espeak-ng was not found on PATH. Install it "
        "(apt-get install espeak-ng) and restart the server, or send speech as audio."
    )
    return ProtocolError(ErrorCode.SPEECH_NOT_INSTALLED, message)
