"""One released folder of tiny width, with a reference image and two voices."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from runtime.hunyuan.encoders.preprocess import Size
from runtime.hunyuan.offline.job import ClipJob
from runtime.hunyuan.offline.loaded_model import ModelChoice
from runtime.hunyuan.offline.sampler import OfflineSettings
from tests.support.models.small_world import BOXES, babble, draw
from tests.support.released.released_folder import TINY_SHALLOW, write_tiny_release
from tests.support.wav_files import write_wav


@dataclass(frozen=True)
class ReleasedWorld:
    folder: Path
    choice: ModelChoice

    def job(self, out: Path, **changes: object) -> ClipJob:
        """12 frames of 64 x 64 px in three steps, with changes."""
        usual = ClipJob(
            self.folder / "a.png",
            (self.folder / "a.wav",),
            out,
            faces=BOXES[:1],
            size=Size(64, 64),
            sampling=OfflineSettings(steps=3),
        )
        return replace(usual, **changes)


def make_released_world(folder: Path) -> ReleasedWorld:
    """Fills an empty folder."""
    write_tiny_release(folder / "weights", dit=TINY_SHALLOW)
    draw(folder / "a.png")
    write_wav(folder / "a.wav", babble(0.5), 16_000)
    write_wav(folder / "b.wav", babble(0.6, seed=1), 16_000)
    choice = ModelChoice(
        folder / "weights",
        torch.device("cpu"),
        dtype=torch.float32,
        embeddings=folder / "embeddings",
    )
    return ReleasedWorld(folder, choice)
