"""espeak-ng through its C library: speech with the sample at which every phoneme starts.

`espeak-ng --pho` prints nothing for espeak-ng's own voices, so the library is called with
ctypes, in synchronous mode, and its phoneme events (in IPA) are collected.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.errors import NotFound
from training.voices.mouth_curves import Phoneme

_LIBRARY = "libespeak-ng.so.1"
# Constants of espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_PHONEME_EVENTS, _INITIALIZE_PHONEME_IPA = 1, 2
_EVENT_LIST_TERMINATED, _EVENT_PHONEME = 0, 7
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_PARAMETER_RATE, _PARAMETER_PITCH, _PARAMETER_RANGE = 1, 3, 4
_OK = 0
_VOICELESS_STOPS = tuple("ptkqcʈ")
_LONGEST_CLOSURE_S = 0.060
_QUIET = 150  # of 32,768


class _EventId(ctypes.Union):
    _fields_ = (
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True, slots=True)
class Spoken:
    """Raw speech: pcm (N,) float32 in [-1, 1] at `rate` Hz, phonemes with samples at that rate."""

    pcm: NDArray[np.float32]
    rate: int
    phonemes: tuple[Phoneme, ...]


class _Espeak:
    """The one espeak-ng of this process; its C state is global."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            raise NotFound(
                f"{_LIBRARY} cannot be loaded ({error}). Install Debian's espeak-ng: `make setup`."
            ) from error
        flags = _INITIALIZE_PHONEME_EVENTS | _INITIALIZE_PHONEME_IPA
        self.rate: int = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, None, flags)
        self._library.espeak_Info.restype = ctypes.c_char_p
        data = ctypes.c_char_p()
        self._library.espeak_Info(ctypes.byref(data))
        self._variants = Path((data.value or b"").decode()) / "voices" / "!v"
        self._samples: list[NDArray[np.int16]] = []
        self._events: list[tuple[int, str]] = []
        self._callback = _Callback(self._collect)  # must outlive the library's use of it
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, wav, count, events) -> int:  # type: ignore[no-untyped-def]
        if wav and count:
            self._samples.append(np.ctypeslib.as_array(wav, (count,)).copy())
        i = 0
        while events[i].type != _EVENT_LIST_TERMINATED:
            if events[i].type == _EVENT_PHONEME:
                symbol = bytes(events[i].id.string).decode("utf-8", "ignore")
                self._events.append((events[i].sample, symbol))
            i += 1
        return 0

    def speak(self, text: str, voice: str, wpm: int, pitch: int, pitch_range: int) -> Spoken:
        library = self._library
        _, _, variant = voice.partition("+")
        known = not variant or (self._variants / variant).is_file()  # else it would be left out
        if not known or library.espeak_SetVoiceByName(voice.encode()) != _OK:  # or the old one stay
            raise NotFound(
                f"espeak-ng has no voice {voice!r}. See `espeak-ng --voices` and "
                "`espeak-ng --voices=variant`."
            )
        for parameter, value in (
            (_PARAMETER_RATE, wpm),
            (_PARAMETER_PITCH, pitch),
            (_PARAMETER_RANGE, pitch_range),
        ):
            library.espeak_SetParameter(parameter, value, 0)
        self._samples, self._events = [], []
        data = text.encode()
        library.espeak_Synth(data, len(data) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
        pcm = np.concatenate([*self._samples, np.zeros(0, np.int16)])
        phonemes = _phonemes(self._events, pcm, self.rate)
        return Spoken(pcm.astype(np.float32) / 32768.0, self.rate, phonemes)


def _phonemes(
    events: list[tuple[int, str]], pcm: NDArray[np.int16], rate: int
) -> tuple[Phoneme, ...]:
    """Each phoneme lasts until the next event; "(en)" marks belong to nobody.

    espeak-ng announces a voiceless stop at its burst. The silence of its closure, some 45 ms in
    which the lips of a `p` are already shut, is given back to it here.
    """
    kept = [
        (min(start, len(pcm)), symbol) for start, symbol in events if not symbol.startswith("(")
    ]
    starts = [
        _closure_start(pcm, start, rate) if symbol[:1] in _VOICELESS_STOPS else start
        for start, symbol in kept
    ]
    stops = list(accumulate(reversed([*starts, len(pcm)]), min))[-2::-1]
    return tuple(
        Phoneme(symbol, start, stop)
        for (_, symbol), start, stop in zip(kept, starts, stops, strict=True)
        if stop > start
    )


def _closure_start(pcm: NDArray[np.int16], burst: int, rate: int) -> int:
    """First sample of the quiet right before `burst`, at most 60 ms back."""
    oldest = max(0, burst - int(_LONGEST_CLOSURE_S * rate))
    loud = np.flatnonzero(np.abs(pcm[oldest:burst].astype(np.int32)) > _QUIET)
    return oldest + int(loud[-1]) + 1 if len(loud) else oldest


@cache
def _espeak() -> _Espeak:
    return _Espeak()


def speak(
    text: str, voice: str = "en-us", *, wpm: int = 170, pitch: int = 50, pitch_range: int = 50
) -> Spoken:
    """`text` in an espeak-ng voice such as "en-us+f2"; pitch and its range are 0..99.

    espeak-ng keeps a little state between calls: the same words again may differ by a hundredth
    in length.
    """
    return _espeak().speak(text, voice, wpm, pitch, pitch_range)
