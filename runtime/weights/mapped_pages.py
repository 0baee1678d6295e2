"""Releases the memory of a tensor that is mapped from a file, after it was copied elsewhere.

A page of a mapped file stays in a process's memory until the system needs the room. So a model that
is converted, merged or packed while it loads would seem to take its file's size on top of its own.
On Linux the pages are released at once; on other systems nothing is done.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import cache
from pathlib import Path

from torch import Tensor

SMALLEST = 1 << 16  # bytes; less is not worth the call
MAPS = Path("/proc/self/maps")
NO_FILE = "0"  # the inode of memory without a file


def release_pages(tensor: Tensor) -> None:
    """Frees the complete pages of a CPU tensor in a mapped file; does nothing to other tensors.

    The tensor may be read again, which reads the file again; anything written to it is lost.
    """
    if sys.platform != "linux" or tensor.is_cuda or tensor.nbytes < SMALLEST:
        return
    start = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    stop = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if start < stop and in_one_file(start, stop):
        madvise = system_library().madvise
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), mmap.MADV_DONTNEED)


def in_one_file(start: int, stop: int) -> bool:
    """Do the addresses [start, stop) belong to one mapped file?"""
    for line in MAPS.read_text(encoding="utf-8", errors="replace").splitlines():
        span, _, _, _, inode, *_ = line.split()
        first, last = (int(number, 16) for number in span.split("-"))
        if first <= start < last:
            return inode != NO_FILE and stop <= last
    return False


@cache
def system_library() -> ctypes.CDLL:
    """The C library that this process runs on."""
    return ctypes.CDLL(None)
