"""What tests with a real server share: media on loopback only, characters, speech."""

import aioice.ice
import numpy as np
import pytest

from tests.support.serving.backends import make_characters


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch):
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_, **__: ["127.0.0.1"])


@pytest.fixture(scope="session")
def character_root(tmp_path_factory):
    return make_characters(tmp_path_factory.mktemp("characters"))


@pytest.fixture
def speech():
    """Speech-like PCM16 at 16 kHz: `speech(ms)`."""

    def make(ms: int) -> bytes:
        time = np.arange(16 * ms) / 16_000
        wave = 0.4 * np.sin(2 * np.pi * 180 * time) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))
        return (wave * 32767).astype("<i2").tobytes()

    return make
