"""A whole released folder, of tiny width, makes videos."""

from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from runtime.released.job import ClipJob, Progress, make_clips
from runtime.released.model import ModelChoice
from runtime.released.offline import OfflineSettings
from runtime.released.preprocess import Size
from tests.released_folder import TINY_SHALLOW, write_tiny_release
from tests.runtime.small_world import BOXES, babble, draw
from tests.runtime.test_sound_file import write_wav

CPU = torch.device("cpu")
STEPS = 17  # the last one is cached


class StopAfter:
    """Reports to a list, and stops the work after a number of sampling reports, as a crash does."""

    def __init__(self, steps: int | None = None) -> None:
        self.steps = steps
        self.seen: list[Progress] = []

    def __call__(self, progress: Progress) -> None:
        self.seen.append(progress)
        sampled = [one for one in self.seen if one.stage == "sampling"]
        if self.steps is not None and len(sampled) > self.steps:
            raise KeyboardInterrupt


@dataclass(frozen=True)
class World:
    folder: Path
    choice: ModelChoice

    def job(self, out: Path, **changes: object) -> ClipJob:
        usual = ClipJob(
            self.folder / "a.png",
            (self.folder / "a.wav",),
            out,
            faces=(BOXES[0],),
            size=Size(64, 64),
            sampling=OfflineSettings(STEPS),
        )
        return replace(usual, **changes)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("released")
    write_tiny_release(folder / "weights", dit=TINY_SHALLOW)
    draw(folder / "a.png")
    write_wav(folder / "a.wav", babble(0.5), 16_000)
    write_wav(folder / "b.wav", babble(0.6, seed=1), 16_000)
    return World(
        folder,
        ModelChoice(folder / "weights", CPU, dtype=torch.float32, embeddings=folder / "embeddings"),
    )


def pictures(file: Path) -> np.ndarray:
    with av.open(str(file)) as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])


def silent(_: Progress) -> None:
    """Reports to nobody."""


def test_a_picture_and_a_voice_become_a_video(world: World, tmp_path: Path) -> None:
    report = StopAfter()
    make_clips([world.job(tmp_path / "a.mp4")], world.choice, report)
    assert pictures(tmp_path / "a.mp4").shape == (12, 64, 64, 3)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
    last = [one for one in report.seen if one.stage == "video"][-1]
    assert last.done == last.total == 12
