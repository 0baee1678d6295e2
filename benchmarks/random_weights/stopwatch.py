"""Times work on a device: discards the warm-up, and waits for the device only at measured edges."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def wait_for(device: torch.device) -> None:
    """Waits until the device has finished its work; a CPU already has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def times_ms(
    work: Callable[[], object], device: torch.device, warm_up: int, runs: int
) -> list[float]:
    """Milliseconds of each of `runs` calls, after `warm_up` calls that do not count."""
    for _ in range(warm_up):
        work()
    measured = []
    for _ in range(runs):
        wait_for(device)
        start = time.perf_counter()
        work()
        wait_for(device)
        measured.append((time.perf_counter() - start) * 1e3)
    return measured
