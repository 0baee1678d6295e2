"""What the training voices say: sentences of our own making, endless and reproducible.

A text belongs to one split for ever, by its checksum, so that no text heard in training is used
to judge. Pseudo-words make other languages' voices speak all of their sounds.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Literal

from numpy.random import Generator

Split = Literal["train", "test"]
_TEST_SHARE = 6  # one text of six is kept for judging

_PEOPLE = (
    """my mother|the old baker|a young pilot|our neighbour|Bob|Emma|the mayor|a famous poet|
nobody|everyone here|the little boy|Maria|my best friend|the plumber|a foreign visitor|Doctor Wolf|
the whole family|Philip|her uncle|the opera singer|two firemen|Amy|the photographer|Papa|a thief
""".replace("\n", "")
    .strip("|")
    .split("|")
)
_VERBS = (
    """found|bought|painted|forgot|described|borrowed|moved|loved|repaired|opened|watched|
hid behind|laughed about|waited for|talked about|wrote about|jumped over|cleaned|showed me|kept|
photographed|believed in|paid for|carried|broke|dreamed of|searched for|examined|threw away|shared
""".replace("\n", "")
    .strip("|")
    .split("|")
)
_THINGS = (
    """a blue umbrella|the wooden bridge|five apples|an enormous pumpkin|the morning paper|
a bowl of warm soup|the missing map|that purple shirt|some fresh bread|the broken window|my phone|
a book about birds|the empty bottle|a very long letter|the football match|a silver spoon|his boat|
the last piece of cake|an old photograph|the vegetable garden|a tiny violin|the weather|my opinion|
a beautiful waterfall|those heavy boxes|the computer|three white mice|the village museum|a promise
""".replace("\n", "")
    .strip("|")
    .split("|")
)
_PLACES = (
    """in the kitchen|near the river|at half past four|before breakfast|on a rainy Monday|
behind the theatre|in a small village|under the apple tree|far away from home|after the meeting|
on top of the mountain|between two buildings|without saying a word|in front of everybody|by bus|
while it was snowing|at the airport|beside the fire|early this morning|over the weekend|for fun
""".replace("\n", "")
    .strip("|")
    .split("|")
)
_ADJECTIVES = (
    """happy|wonderful|awful|impossible|quite simple|beautiful|rather boring|important|
obvious|expensive|amazing|comfortable|very strange|funny|perfect|useful|almost empty|brave|warm
""".replace("\n", "")
    .strip("|")
    .split("|")
)
_SHORT = (
    """Yes.|No.|Maybe.|Of course.|Hello!|Good morning.|Thank you very much.|Why not?|Really?|
Oh, wow!|I see.|Please help me.|Goodbye.|Wait a moment.|Absolutely.|Excuse me.|Not at all.|Who?|
Just a minute.|Well, well.|Come on!|Never mind.|Be quiet.|How are you?|Fine, thanks.|You're welcome.
""".replace("\n", "")
    .strip("|")
    .split("|")
)
_NOUNS = (
    """apple|butter|chicken|window|elephant|paper|music|water|finger|thunder|village|orange|
monkey|balloon|coffee|garden|shoes|purple|yellow|seven|weather|bubble|movie|volume|fever|leather|
teeth|cheese|juice|measure|king|ring|boy|toy|cow|house|boat|moon|foot|bird|thirty|father|map|lamp
""".replace("\n", "")
    .strip("|")
    .split("|")
)
_FRAMES = (
    "{person} {verb} {thing} {place}.",
    "{person} {verb} {thing}.",
    "{place}, {person} {verb} {thing}.",
    "I think {thing} looked {adjective}, but {person} {verb} it {place}.",
    "Did you know that {person} {verb} {thing} {place}?",
    "Why would {person} be {adjective} about {thing}?",
    "It was {adjective} and {adjective2}; {person} {verb} {thing}.",
    "{person} said: what a {noun}! How {adjective}!",
    "We have {number} {noun}s, {number2} {noun2}s and one {noun3}.",
    "The number is {number}, {number2}, {number}.",
    "Open the {noun}, close the {noun2}, and bring me {thing}.",
    "{noun}, {noun2}, {noun3}, and finally {thing}.",
    "If {person} {verb} {thing}, nobody would call it {adjective}.",
    "You should visit us {place}, because {thing} is {adjective}.",
)
_ONSETS = [
    "m",
    "b",
    "p",
    "f",
    "v",
    "t",
    "d",
    "n",
    "l",
    "s",
    "z",
    "k",
    "g",
    "r",
    "h",
    "w",
    "sh",
    "ch",
    "m",
    "b",
    "p",
    "j",
]
_NUCLEI = ["a", "e", "i", "o", "u", "a", "o", "ai", "ou", "e"]
_CODAS = ["", "", "", "n", "m", "l", "s", "r", "t", "p", "k"]


def sentence(rng: Generator, split: Split) -> str:
    """A fresh English sentence, short answer or list of that split."""
    return _of_split(rng, split, _english)


def pseudo_sentence(rng: Generator, split: Split) -> str:
    """A sentence of pronounceable pseudo-words for voices of any language in Latin script."""
    return _of_split(rng, split, _pseudo)


def split_of(text: str) -> Split:
    """The split to which a text belongs, whoever asks."""
    return "test" if zlib.crc32(text.lower().encode()) % _TEST_SHARE == 0 else "train"


def _of_split(rng: Generator, split: Split, make: Callable[[Generator], str]) -> str:
    while True:
        text = make(rng)
        if split_of(text) == split:
            return text


def _pick(rng: Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


def _english(rng: Generator) -> str:
    if rng.random() < 0.12:
        return " ".join(_pick(rng, _SHORT) for _ in range(1 + int(rng.integers(3))))
    frame = _FRAMES[int(rng.integers(len(_FRAMES)))]
    text = frame.format(
        person=_pick(rng, _PEOPLE),
        verb=_pick(rng, _VERBS),
        thing=_pick(rng, _THINGS),
        place=_pick(rng, _PLACES),
        adjective=_pick(rng, _ADJECTIVES),
        adjective2=_pick(rng, _ADJECTIVES),
        noun=_pick(rng, _NOUNS),
        noun2=_pick(rng, _NOUNS),
        noun3=_pick(rng, _NOUNS),
        number=int(rng.integers(2, 10 ** int(rng.integers(1, 5)))),
        number2=int(rng.integers(2, 100)),
    )
    return text[0].upper() + text[1:]


def _pseudo(rng: Generator) -> str:
    words = []
    for _ in range(int(rng.integers(3, 11))):
        syllables = int(rng.integers(1, 4))
        words.append(
            "".join(
                _pick(rng, _ONSETS) + _pick(rng, _NUCLEI) + _pick(rng, _CODAS)
                for _ in range(syllables)
            )
        )
    comma = int(rng.integers(len(words)))
    words[comma] += ","
    return " ".join(words).rstrip(",") + "."
