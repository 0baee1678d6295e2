"""A small random model and a drawn character, for tests that need a whole stream."""

import json
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from runtime.character.character import Character
from runtime.character.store import NewCharacter, add_character
from runtime.stream.generator import StreamingGenerator
from runtime.stream.presets import StreamPreset
from runtime.values import Box, Frame
from runtime.weights.checkpoint import AvatarModel
from tests.support.models.small_model import random_model

PARTS = ("dit", "autoencoder", "audio_encoder")
BOXES = (Box(0.1, 0.3, 0.25, 0.35), Box(0.65, 0.3, 0.25, 0.35))
PRESETS = [
    StreamPreset("all past", window=3, hop=1, shift=0, steps=3),
    StreamPreset("two a tick", window=3, hop=2, shift=0, steps=2),
    StreamPreset("fusion", window=3, hop=3, shift=1, steps=3),
    StreamPreset("long shift", window=2, hop=2, shift=3, steps=2),
    StreamPreset("overlapping and shifted", window=4, hop=2, shift=1, steps=3),
]


@cache
def small_model(seed: int = 0) -> AvatarModel:
    return random_model(seed)


def draw(path: Path, size: tuple[int, int] = (64, 64), mouth: str = "red") -> Path:
    """A picture with two faces."""
    picture = Image.new("RGB", size, "lightblue")
    pen = ImageDraw.Draw(picture)
    for box in BOXES:
        left, top = box.x * size[0], box.y * size[1]
        right, bottom = box.right * size[0], box.bottom * size[1]
        pen.ellipse((left, top, right, bottom), fill="bisque")
        pen.ellipse((left + 4, bottom - 8, right - 4, bottom - 3), fill=mouth)
    picture.save(path)
    return path


def small_character(folder: Path, speakers: tuple[str, ...] = ("ana",)) -> Character:
    new = NewCharacter(
        id="small",
        picture=draw(folder / "drawn.png"),
        boxes=BOXES[: len(speakers)],
        speakers=speakers,
        emotions={"happy": draw(folder / "happy.png", mouth="yellow")},
    )
    return add_character(new, folder / "characters", size=(64, 64))


def babble(seconds: float, seed: int = 0) -> np.ndarray:
    """Something loud that changes all the time, 16 kHz."""
    rng = np.random.default_rng(seed)
    count = int(seconds * 16_000)
    knots = np.arange(0, count + 1600, 1600)
    loudness = np.interp(np.arange(count), knots, rng.random(len(knots)))
    return (loudness * rng.normal(0, 0.2, count)).astype(np.float32)


def run(stream: StreamingGenerator) -> list[Frame]:
    """All frames that the sound pushed so far allows."""
    frames: list[Frame] = []
    while stream.ready():
        frames += stream.tick()
    return frames


def pixels(frames: list[Frame]) -> np.ndarray:
    return np.stack([frame.pixels for frame in frames])


def save_model(model: AvatarModel, folder: Path) -> Path:
    """A model folder as training writes it."""
    folder.mkdir()
    for part in PARTS:
        module = getattr(model, part)
        tensors = {key: value.half() for key, value in module.state_dict().items()}
        if part == "dit":
            tensors["prompt.text_states"] = model.prompt.states.half()
            tensors["prompt.pooled_text"] = model.prompt.pooled.half()
        save_file(tensors, folder / f"{part}.safetensors")
        (folder / f"{part}.json").write_text(json.dumps(module.config.to_dict()))
    return folder
