"""The voices that speak in training, and those kept apart for judging."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from numpy.random import Generator

from training.voices.sentences import Split

Engines = Literal["all", "espeak", "flite"]


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice of one engine. `speaks_english` is False where pseudo-words suit it better."""

    engine: Literal["espeak", "flite"]
    name: str
    speaks_english: bool = True


_ACCENTS = (
    "en",
    "en-us",
    "en-gb-x-rp",
    "en-gb-scotland",
    "en-gb-x-gbcwmd",
    "en-gb-x-gbclan",
    "en-029",
    "en-us-nyc",
)
# fmt: off
_VARIANTS = (
    "m1", "m2", "m3", "m4", "m5", "m7", "m8", "f1", "f2", "f3", "f5", "croak", "whisper", "klatt",
    "klatt2", "klatt3", "klatt4", "klatt6", "adam", "Alex", "Alicia", "Andrea", "Annie", "aunty",
    "belinda", "benjamin", "boris", "david", "Denis", "Diogo", "ed", "edward", "Gene", "Henrique",
    "Hugo", "iven", "Jacky", "john", "kaukovalta", "Lee", "linda", "marcelo", "Marco", "max",
    "Michael", "michel", "miguel", "Mike", "pablo", "paul", "pedro", "quincy", "rob", "robert",
    "steph2", "steph3", "travis", "victor", "zac", "anika", "grandma", "grandpa",
)
_LANGUAGES = (
    "de", "fr", "es", "pt", "pt-br", "nl", "pl", "fi", "tr", "ro", "hu", "cs", "id", "sk", "da",
    "hr",
)
# fmt: on
_TEST_VARIANTS = ["f4", "m6", "steph", "Andy", "Mario", "klatt5", "antonio"]
_TEST_LANGUAGE = "it"


def _espeak_voices() -> dict[Split, tuple[Voice, ...]]:
    train = [Voice("espeak", f"{accent}+{v}") for accent in _ACCENTS for v in _VARIANTS]
    few = _VARIANTS[:18]
    train += [Voice("espeak", f"{lang}+{v}", False) for lang in _LANGUAGES for v in few]
    test = [Voice("espeak", f"{accent}+{v}") for accent in _ACCENTS for v in _TEST_VARIANTS]
    test += [Voice("espeak", f"{_TEST_LANGUAGE}+{v}", False) for v in _TEST_VARIANTS]
    return {"train": tuple(train), "test": tuple(test)}


ESPEAK_VOICES = _espeak_voices()
FLITE_VOICES: dict[Split, tuple[Voice, ...]] = {
    "train": tuple(Voice("flite", name) for name in ("kal16", "awb", "rms")),
    "test": (Voice("flite", "slt"),),
}
FLITE_SHARE = 0.25  # of all utterances: flite's voices are cut from recordings of people


def random_voice(rng: Generator, split: Split, engines: Engines = "all") -> Voice:
    """One of the split's voices."""
    from_flite = rng.random() < {"all": FLITE_SHARE, "espeak": 0.0, "flite": 1.0}[engines]
    voices = (FLITE_VOICES if from_flite else ESPEAK_VOICES)[split]
    return voices[int(rng.integers(len(voices)))]
