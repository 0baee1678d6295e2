"""A released folder, of tiny width, behind the server: `avatar serve --weights DIR`."""

from pathlib import Path

import numpy as np
import pytest

from runtime.character.registry import CharacterRegistry
from runtime.errors import CheckpointError
from server.config import ConfigError, Model
from server.config_file import load_config
from server.generation.interface import StreamRequest
from server.generation.runtime_backend import RuntimeBackend
from server.playout import Slice
from server.webrtc.tracks import as_frame
from tests.support.models.small_world import small_character
from tests.support.models.taehv_file import write_taehv
from tests.support.released.released_folder import TINY_SHALLOW, write_tiny_release


def one_character(config: Model) -> RuntimeBackend:
    """A backend without the built-in characters, whose pictures are large for a test."""
    return RuntimeBackend(config, CharacterRegistry(config.characters))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("served")
    write_tiny_release(
        folder / "weights", dit=TINY_SHALLOW, parts=("dit", "vae", "whisper", "llava", "clip")
    )
    small_character(folder, ("ana", "ben"))
    return Model(
        checkpoint=folder / "weights",
        embeddings=folder / "embeddings",
        characters=(folder / "characters",),
        threads=1,
    )


def test_without_a_decoder_it_does_not_start(config: Model) -> None:
    with pytest.raises(CheckpointError, match=r"taehv\.pth is missing.*--decoder"):
        one_character(config).load()


@pytest.mark.slow
def test_it_is_served_with_presets_of_its_own(config: Model) -> None:
    assert config.checkpoint is not None
    write_taehv(config.checkpoint / "ckpts" / "taehv.pth")  # where it is looked for
    engine = one_character(config)
    engine.load()
    times = engine.times("interactive")
    assert (times.hop_ms, times.lag_ms) == (640, 0)
    assert not engine.has_emotions()
    stream = engine.open(StreamRequest(engine.characters.read()["small"], "interactive", 0))
    for speaker in ("ana", "ben"):
        stream.fill_silence(speaker, stream.needed_samples)
    frames = stream.begin_tick(lambda: False)
    assert [frame.index for frame in frames] == list(range(13))
    assert frames[0].pixels.shape == (64, 64, 3)


def test_a_decoder_that_is_not_there_is_refused_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.decoder: there is no file"):
        load_config(flags={"model": {"decoder": tmp_path / "gone.pth"}})


@pytest.mark.parametrize(("shape", "layout"), [((64, 96, 3), "rgb24"), ((96, 96), "yuv420p")])
def test_planes_go_to_the_encoder_as_they_are(shape: tuple[int, ...], layout: str) -> None:
    pixels = np.full(shape, 90, np.uint8)
    frame = as_frame(Slice(0, 0, pixels, np.zeros(1920, np.int16)))
    assert (frame.format.name, frame.width, frame.height) == (layout, 96, 64)
    assert np.array_equal(frame.to_ndarray(), pixels)
