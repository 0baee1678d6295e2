"""What more than one folder of tests needs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.faults.groups import GROUPS

if not torch.cuda.is_available():
    # Before anything imports Triton: its kernels then run on the CPU, number by number.
    os.environ["TRITON_INTERPRET"] = "1"


if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # one of several processes that share the cores

REAL_TIME = [Path(__file__).parent / name for name in ("end_to_end", "faults/live")]


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch computes on one thread, so that processes compared with each other round alike."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.hookimpl(tryfirst=True)  # before marks choose the tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that run on the real clock, and check the groups of faults."""
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in REAL_TIME):
            item.add_marker("realtime")
        for mark in item.iter_markers("fault"):
            assert mark.args[0] in GROUPS, f"{item.nodeid}: no group of faults {mark.args[0]!r}"
