"""flite's command line: other voices than espeak-ng's, with the end time of every phoneme."""

from __future__ import annotations

import re
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np

from runtime.errors import NotFound
from training.voices.espeak import Spoken
from training.voices.mouth_curves import Phoneme

_TIMED = re.compile(r"(\S+):([0-9.]+)")

# Seconds by which the sound of these voices lags behind their printed times (measured on vowels).
_LATE_S = {"slt": 0.010, "rms": 0.006}

# CMU's phone names (radio and CMUdict sets of flite's English voices) in IPA.
IPA = {
    "aa": "ɑ", "ae": "æ", "ah": "ʌ", "ao": "ɔ", "aw": "aʊ", "ax": "ə", "ay": "aɪ", "b": "b",
    "ch": "tʃ", "d": "d", "dh": "ð", "dx": "ɾ", "eh": "ɛ", "er": "ɜ", "ey": "eɪ", "f": "f",
    "g": "ɡ", "hh": "h", "ih": "ɪ", "iy": "i", "jh": "dʒ", "k": "k", "l": "l", "m": "m",
    "n": "n", "ng": "ŋ", "ow": "oʊ", "oy": "ɔɪ", "p": "p", "pau": "", "r": "ɹ", "s": "s",
    "sh": "ʃ", "ssil": "", "t": "t", "th": "θ", "uh": "ʊ", "uw": "u", "v": "v", "w": "w",
    "y": "j", "z": "z", "zh": "ʒ", "axr": "ɜ", "el": "əl", "em": "əm", "en": "ən", "h#": "",
    "brth": "",
}  # fmt: skip


def speak(text: str, voice: str = "slt", *, stretch: float = 1.0, pitch_hz: int = 0) -> Spoken:
    """`text` in a flite voice; `stretch` > 1 speaks slower, `pitch_hz` 0 keeps the voice's own."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        command = ["flite", "-voice", voice, "--setf", f"duration_stretch={stretch:.3f}", "-psdur"]
        if pitch_hz:
            command += ["--setf", f"int_f0_target_mean={pitch_hz}"]
        try:
            done = subprocess.run(
                [*command, "-t", text, "-o", str(wav)], capture_output=True, text=True, check=True
            )
        except FileNotFoundError as error:
            message = "There is no `flite` here. Install Debian's flite: `make setup`."
            raise NotFound(message) from error
        late = _LATE_S.get(voice, 0.0)
        with wave.open(str(wav)) as file:
            rate = file.getframerate()
            pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return Spoken(
        pcm.astype(np.float32) / 32768.0, rate, _phonemes(done.stdout, rate, late, len(pcm))
    )


def _phonemes(printed: str, rate: int, late_s: float, samples: int) -> tuple[Phoneme, ...]:
    phonemes, start = [], 0
    for name, seconds in _TIMED.findall(printed):
        stop = min(samples, round((float(seconds) + late_s) * rate))
        phonemes.append(Phoneme(IPA[name], start, stop))
        start = stop
    return tuple(phonemes)
