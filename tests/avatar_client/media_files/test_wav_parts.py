"""Heads of WAV files: where each part begins and what no header announces. And a fuzz of them."""

import random
from pathlib import Path

import pytest
from avatar_client.media_files.failure import MediaFileError
from avatar_client.media_files.sound_file import read_sound
from avatar_client.media_files.wav_parts import FilePart, WavPart, wav_parts

from tests.support.odd_sounds import EXTENSIBLE, FLOAT, chunk, pcm8, pcm16, voice, wav

CORPUS = Path(__file__).parent / "corpus"
SHORT = voice(0.02)


def write(folder: Path, content: bytes) -> Path:
    file = folder / "a.wav"
    file.write_bytes(content)
    return file


def test_one_wav_is_one_part(tmp_path):
    content = wav(pcm16(SHORT))
    assert wav_parts(write(tmp_path, content)) == [WavPart(0, len(content))]


def test_several_wavs_are_as_many_parts(tmp_path):
    first, second = wav(pcm16(SHORT)), wav(pcm8(SHORT), bits=8)
    parts = wav_parts(write(tmp_path, first + second))
    assert parts == [
        WavPart(0, len(first)),
        WavPart(len(first), len(first) + len(second)),
    ]


def test_stray_bytes_are_counted_from_the_end_that_the_header_gives(tmp_path):
    assert wav_parts(write(tmp_path, wav(pcm16(SHORT), size=100)))[0].stray_bytes == 860
    assert wav_parts(write(tmp_path, wav(pcm16(SHORT)) + b"\xff" * 7))[0].stray_bytes == 7


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0AVI LIST", b"fLaC" * 9])
def test_what_is_no_wav_has_no_parts(tmp_path, content):
    assert wav_parts(write(tmp_path, content)) == []


def test_a_part_of_a_file_reads_and_seeks_as_a_file(tmp_path):
    part = FilePart(write(tmp_path, b"0123456789"), 2, 7)
    assert part.read() == b"23456"
    assert part.seek(-2, 2) == 3
    assert part.read(9) == b"56"
    assert (part.seek(1), part.read(2), part.tell()) == (1, b"34", 3)
    assert (part.seek(-9, 1), part.read(1)) == (0, b"2")
    part.close()


@pytest.fixture(scope="module")
def seeds() -> list[bytes]:
    """Files to mutate: made here, and those that once broke something (`corpus`)."""
    made = [
        wav(pcm16(SHORT)),
        wav(pcm8(SHORT), bits=8),
        wav(SHORT.astype("<f4").tobytes(), FLOAT, 32),
        wav(pcm16(SHORT), EXTENSIBLE, extra=bytes(24)),
        wav(pcm16(SHORT)) + wav(pcm16(SHORT)),
        wav(pcm16(SHORT), after=chunk(b"LIST", b"INFO")),
    ]
    return made + [file.read_bytes() for file in sorted(CORPUS.iterdir())]


@pytest.mark.fault("containers")
def test_the_kept_corpus_is_read_or_refused(tmp_path, seeds):
    """Sound files that once broke something are read or refused by name."""
    for seed in seeds:
        _read_or_refuse(write(tmp_path, seed))


@pytest.mark.fault("containers")
@pytest.mark.parametrize("start", range(4))
def test_damaged_files_are_read_or_refused_and_nothing_else(tmp_path, seeds, start):
    """Any damage to a sound file ends in sound or in one sentence, never in a crash."""
    dice = random.Random(start)
    for _ in range(150):
        _read_or_refuse(write(tmp_path, _damaged(dice.choice(seeds), dice)))


@pytest.mark.nightly
@pytest.mark.fault("containers")
def test_very_many_damaged_files_are_read_or_refused(tmp_path, seeds):
    """Any damage to a sound file ends in sound or in one sentence, 50,000 times."""
    dice = random.Random()
    for _ in range(50_000):
        content = _damaged(dice.choice(seeds), dice)
        try:
            _read_or_refuse(write(tmp_path, content))
        except BaseException:
            print("seed for the corpus:", content.hex())
            raise


def _read_or_refuse(file: Path) -> None:
    try:
        sound = read_sound(file, 16_000)
    except MediaFileError as refusal:
        message = str(refusal)
    else:
        assert sound.samples.dtype == "float32"
        assert abs(sound.samples).max() <= 1
        return
    assert str(file) in message
    assert "\n" not in message


def _damaged(content: bytes, dice: random.Random) -> bytes:
    """Bytes changed, most of them in the head, cut out, repeated or appended."""
    data = bytearray(content)
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(min(len(data), 60) if dice.random() < 0.8 else len(data)) if data else 0
        kind = dice.randrange(5)
        if kind == 0 and data:
            data[at] = dice.choice([0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)])
        elif kind == 1:
            data[at : at + 4] = dice.choice(
                [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"data", b"RIFF", b"fmt "]
            )
        elif kind == 2:
            del data[at : at + dice.randint(1, 40)]
        elif kind == 3:
            data[at:at] = data[at : at + dice.randint(1, 80)]
        else:
            data += dice.randbytes(dice.randint(1, 40))
    return bytes(data)
