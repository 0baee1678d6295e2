"""What more than one folder of tests needs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    # Before anything imports Triton: its kernels then run on the CPU, number by number.
    os.environ["TRITON_INTERPRET"] = "1"


REAL_TIME = Path(__file__).parent / "end_to_end"


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch computes on one thread, so that processes compared with each other round alike."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.hookimpl(tryfirst=True)  # before marks choose the tests
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by the clock they need; keep those that share something costly in one process."""
    has_processes = config.pluginmanager.hasplugin("xdist")
    for item in items:
        if item.path.is_relative_to(REAL_TIME):
            item.add_marker("realtime")
        if has_processes:
            item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    """A module's tests, or all that use the same released folder or the same built engines."""
    if "released_world" in getattr(item, "fixturenames", ()):
        return "released world"
    if hasattr(getattr(item, "module", None), "small_engines"):
        return "small engines"
    return str(item.path)
