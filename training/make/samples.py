"""Synthesize the sample sentences of the demo: `python -m training.make.samples`.

hello.wav is one speaker. dialogue_ana.wav and dialogue_ben.wav are two sides of one conversation:
of equal length; each is silent while the other speaks. All are 16-bit mono at 24 kHz.
"""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from training.voices import flite
from training.voices.speech import resample

SAMPLE_FOLDER = Path("client_demo/samples")
RATE = 24_000
ANA, BEN = "slt", "rms"  # flite's clearest voices
PEAK = 0.7
HELLO = (
    "Hello! I am a picture that can talk.",
    "Give me a voice, and my lips follow every word.",
)
DIALOGUE = (
    (ANA, "Good morning, Ben. Did you sleep well?"),
    (BEN, "Not really. My neighbour played the violin until half past three."),
    (ANA, "Oh no! Maybe you should buy him a book instead."),
    (BEN, "What a wonderful idea. A very big book, about being quiet."),
)
_PAUSE_S = 0.35

Pcm = NDArray[np.float32]


def silence(seconds: float) -> Pcm:
    return np.zeros(round(seconds * RATE), np.float32)


def say(text: str, voice: str) -> Pcm:
    """`text` at 24 kHz, its peak at PEAK, without the silence around it."""
    spoken = flite.speak(text, voice, stretch=1.05)
    pcm = resample(spoken.pcm, round(len(spoken.pcm) * RATE / spoken.rate))
    loud = np.flatnonzero(np.abs(pcm) > 0.01)
    pcm = pcm[max(0, loud[0] - RATE // 50) : loud[-1] + RATE // 20]
    return pcm * np.float32(PEAK / np.abs(pcm).max())


def write(path: Path, pcm: Pcm) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.round(pcm * 32767.0).astype("<i2").tobytes())


def hello() -> Pcm:
    parts = [silence(0.3)]
    for text in HELLO:
        parts += [say(text, ANA), silence(_PAUSE_S)]
    return np.concatenate(parts)


def dialogue() -> dict[str, Pcm]:
    """The two sides of the dialogue, by voice; each is silent during the turns of the other."""
    sides: dict[str, list[Pcm]] = {ANA: [silence(0.3)], BEN: [silence(0.3)]}
    for speaker, text in DIALOGUE:
        said = np.concatenate([say(text, speaker), silence(_PAUSE_S)])
        for voice, side in sides.items():
            side.append(said if voice == speaker else np.zeros_like(said))
    return {voice: np.concatenate(side) for voice, side in sides.items()}


def main(
    folder: Annotated[Path, typer.Option(help="The folder to write to.")] = SAMPLE_FOLDER,
) -> None:
    """Synthesize the sentences of the demo and write them as WAV files."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "hello.wav", hello())
    sides = dialogue()
    write(folder / "dialogue_ana.wav", sides[ANA])
    write(folder / "dialogue_ben.wav", sides[BEN])


if __name__ == "__main__":
    typer.run(main)
