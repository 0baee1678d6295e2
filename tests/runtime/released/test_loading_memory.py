"""Loading takes the memory of the weights, and little more."""

import subprocess
import sys
from dataclasses import replace

import pytest

from tests.released_folder import TINY_SHALLOW, write_tiny_release

WIDE = replace(
    TINY_SHALLOW,
    hidden_size=512,
    heads=8,
    rope_dims=(16, 24, 24),
    double_blocks=4,
    single_blocks=4,
)
LIMIT = 1.2

# Prints the growth of the largest resident set while a model is loaded (which reads every number of
# it, to refuse NaN), and its size. A tiny model is loaded before: what any first call allocates is
# not counted.
MEASURE = r"""
import re, sys
from pathlib import Path
import torch
from runtime.released.loading import load_dit

def load(folder):
    dtype = getattr(torch, sys.argv[4])
    return load_dit(Path(folder), dtype=dtype, form=sys.argv[3])

def peak():
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

load(sys.argv[1])
before = peak()
model = load(sys.argv[2])
tensors = [*model.parameters(), *model.buffers()]
print(peak() - before, sum(tensor.nbytes for tensor in tensors))
"""


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """A tiny one and one of some tens of megabytes."""
    return [
        write_tiny_release(tmp_path_factory.mktemp(name), dit=config, parts=("dit", "fp8"))
        for name, config in (("tiny", TINY_SHALLOW), ("wide", WIDE))
    ]


def growth(releases, form, dtype):
    """Bytes that a process of its own grew by, and bytes of the model's weights."""
    arguments = [sys.executable, "-c", MEASURE, *map(str, releases), form, dtype]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    grown, weights = map(int, done.stdout.split())
    return grown, weights


@pytest.mark.parametrize("form", ["bf16", "fp8"])
def test_host_memory_stays_within_a_fifth_of_the_weights(releases, form):
    grown, weights = growth(releases, form, "bfloat16")
    assert weights > 30e6
    assert grown < LIMIT * weights
