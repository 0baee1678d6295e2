"""Make README's animation with the built-in model: `python -m training.make.preview`.

Writes client_demo/web/talking.webp: the shipped model speaks the sample sentences, two people in a
dialogue in one frame and one person beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.character.store import find_character
from runtime.engine.torch_engine import default_engines
from runtime.media_files.sound_file import read_sound
from runtime.stream.generator import StreamingGenerator
from runtime.stream.presets import find_preset
from runtime.timing import SAMPLE_RATE, VIDEO_FPS
from runtime.weights.checkpoint import AvatarModel, load_builtin

SHOWN = Path(__file__).parents[2] / "client_demo" / "web" / "talking.webp"
SAMPLES = SHOWN.parent.parent / "samples"
SECONDS = 8.0
EVERY = 2  # every second frame of the video is shown
SIDE_PX = 224
PANELS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("ana-ben", {"ana": "dialogue_ana.wav", "ben": "dialogue_ben.wav"}),
    ("mira", {"mira": "hello.wav"}),
)


def talking(model: AvatarModel, character: str, said: Mapping[str, str]) -> list[Image.Image]:
    """SECONDS of video in which each speaker of a character says a sample."""
    stream = StreamingGenerator(
        model, find_character(character), find_preset("broadcast"), engines=default_engines(model)
    )
    for speaker, sample in said.items():
        pcm = read_sound(SAMPLES / sample, SAMPLE_RATE)[: round(SECONDS * SAMPLE_RATE)]
        stream.push(speaker, pcm)
        stream.fill_silence(speaker, round(SECONDS * SAMPLE_RATE))
    frames = stream.flush()[: round(SECONDS * VIDEO_FPS) : EVERY]
    return [Image.fromarray(frame.pixels).resize((SIDE_PX, SIDE_PX)) for frame in frames]


def side_by_side(pictures: tuple[Image.Image, ...]) -> Image.Image:
    rows: NDArray[np.uint8] = np.concatenate([np.asarray(one) for one in pictures], axis=1)
    return Image.fromarray(rows)


def main() -> None:
    model = load_builtin()
    panels = [talking(model, character, said) for character, said in PANELS]
    first, *rest = (side_by_side(pictures) for pictures in zip(*panels, strict=True))
    duration_ms = 1000 * EVERY // VIDEO_FPS
    first.save(
        SHOWN, save_all=True, append_images=rest, duration=duration_ms, loop=0, quality=60, method=4
    )


if __name__ == "__main__":
    main()
