"""One session of the server on two devices: the frames of one device, later by a tick."""

from pathlib import Path

import numpy as np
import pytest

from runtime.character.character import Character
from runtime.character.registry import CharacterRegistry
from server.config import ConfigError, Limits, Model, ServerConfig
from server.generation.interface import StreamRequest
from server.generation.runtime_backend import RuntimeBackend
from tests.support.models.small_world import babble, save_model, small_character, small_model

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

PRESET = "interactive"


def one_character(config: Model, character: Character) -> RuntimeBackend:
    """A backend that warms up with the small character only."""
    return RuntimeBackend(config, CharacterRegistry((character.folder.parent,)))


def frames_of(engine: RuntimeBackend, ticks: int) -> list[np.ndarray]:
    (character,) = engine.characters.read().values()
    stream = engine.open(StreamRequest(character, PRESET, 3))
    stream.push("ana", babble(2.0))
    return [frame.pixels for _ in range(ticks) for frame in stream.begin_tick(lambda: False)]


def test_two_devices_share_one_session(tmp_path: Path) -> None:
    checkpoint = save_model(small_model(), tmp_path / "model")
    character = small_character(tmp_path)
    alone = one_character(Model(checkpoint, threads=1), character)
    both = Model(checkpoint, threads=1, devices=("cpu", "cpu"))
    together = one_character(both, character)
    for engine in (alone, together):
        engine.load()
    try:
        expected, found = frames_of(alone, 5), frames_of(together, 6)
        np.testing.assert_array_equal(np.stack(found), np.stack(expected))
    finally:
        together.close()
    later = together.times(PRESET).lag_ms - alone.times(PRESET).lag_ms
    assert later == alone.times(PRESET).hop_ms


def test_several_devices_take_one_session_at_a_time() -> None:
    config = ServerConfig(limits=Limits(max_sessions=1), model=Model(devices=("cuda:0", "cuda:1")))
    assert config.model.devices == ("cuda:0", "cuda:1")


@pytest.mark.parametrize(("preset", "most"), [("interactive", 3), ("broadcast", 3)])
def test_more_devices_than_the_default_preset_has_work_for_are_refused(preset, most) -> None:
    def config(devices: int) -> ServerConfig:
        model = Model(devices=("cpu",) * devices, default_preset=preset)
        return ServerConfig(limits=Limits(max_sessions=1), model=model)

    assert len(config(most).model.devices) == most
    told = f"names {most + 1} devices, but the preset {preset} has work for {most}"
    with pytest.raises(ConfigError, match=rf"model\.devices {told}"):
        config(most + 1)
