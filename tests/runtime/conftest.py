"""Folders that several folders of tests read."""

import pytest

from tests.support.released.released_world import ReleasedWorld, make_released_world


@pytest.fixture(scope="session")
def released_world(tmp_path_factory: pytest.TempPathFactory) -> ReleasedWorld:
    return make_released_world(tmp_path_factory.mktemp("released"))
