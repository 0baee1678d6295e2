"""What more than one folder of tests needs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    # Before anything imports Triton: its kernels then run on the CPU, number by number.
    os.environ["TRITON_INTERPRET"] = "1"


if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # one of several processes that share the cores

REAL_TIME = Path(__file__).parent / "end_to_end"


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch computes on one thread, so that processes compared with each other round alike."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.hookimpl(tryfirst=True)  # before marks choose the tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that run on the real clock."""
    for item in items:
        if item.path.is_relative_to(REAL_TIME):
            item.add_marker("realtime")
