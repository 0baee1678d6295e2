"""Loading takes the memory of the weights, and little more."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from runtime.hunyuan.weights.loading import empty_dit
from runtime.models.fp8.storage import block_linears
from tests.support.released.released_folder import TINY_SHALLOW, write_tiny_release

pytestmark = pytest.mark.slow

WIDE = replace(
    TINY_SHALLOW,
    hidden_size=512,
    heads=8,
    rope_dims=(16, 24, 24),
    double_blocks=4,
    single_blocks=4,
)
LIMIT = 1.2
SLOTS = 0.25  # on a CPU the two slots are host memory too: of the largest of this model's parts

# glibc gives freed memory of that size back at once. Left alone it moves the limit as it likes, and
# one run in two keeps a temporary of 20 MB.
GIVING_BACK = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}

# Prints the growth of the largest resident set while a model is loaded (which reads every number of
# it, to refuse NaN), and its size. A tiny model is loaded before: what any first call allocates is
# not counted.
MEASURE = r"""
import re, sys
from pathlib import Path
import torch
from runtime.weights.offload import LayerOffload, turns_of
from runtime.hunyuan.weights.loading import load_dit
from runtime.hunyuan.weights.lora import Lora

_, tiny, wide, form, dtype, turns, *loras = sys.argv
lora = [Lora(Path(file)) for file in loras]

def load(folder, lora):
    model = load_dit(Path(folder), "cpu", getattr(torch, dtype), lora, form)
    if turns == "in turns":
        LayerOffload(model, turns_of(model), torch.device("cpu"))
    return model

def peak():
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

load(tiny, [])
before = peak()
model = load(wide, lora)
tensors = [*model.parameters(), *model.buffers()]
print(peak() - before, sum(tensor.nbytes for tensor in tensors))
"""


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A tiny one and one of some tens of megabytes."""
    return [
        write_tiny_release(tmp_path_factory.mktemp(name), dit=config, parts=("dit", "fp8"))
        for name, config in (("tiny", TINY_SHALLOW), ("wide", WIDE))
    ]


def growth(
    releases: list[Path],
    form: str,
    dtype: str = "bfloat16",
    turns: str = "on the device",
    lora: Sequence[Path] = (),
) -> tuple[int, int]:
    """Bytes by which a separate process grew, and bytes of the model's weights."""
    told = [*map(str, releases), form, dtype, turns, *map(str, lora)]
    arguments = [sys.executable, "-c", MEASURE, *told]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=GIVING_BACK)
    grown, weights = map(int, done.stdout.split())
    return grown, weights


@pytest.mark.parametrize("form", ["bf16", "fp8"])
def test_host_memory_stays_within_a_fifth_of_the_weights(releases, form):
    grown, weights = growth(releases, form)
    assert weights > 30e6
    assert grown < LIMIT * weights


def test_converted_weights_are_not_in_memory_twice(releases):
    grown, weights = growth(releases, "bf16", "float32")
    assert weights > 100e6
    assert grown < LIMIT * weights


def test_offloaded_weights_are_not_in_memory_twice(releases):
    grown, weights = growth(releases, "bf16", turns="in turns")
    assert grown < (LIMIT + SLOTS) * weights


def test_weights_that_a_lora_changes_are_not_in_memory_twice(releases, tmp_path):
    grown, weights = growth(releases, "bf16", lora=[lora_of_all_blocks(tmp_path)])
    assert grown < LIMIT * weights


def lora_of_all_blocks(folder: Path) -> Path:
    """Rank 1, for every linear of the blocks."""
    halves = {}
    for name, linear in block_linears(empty_dit(WIDE, "bf16")).items():
        halves[f"{name}.lora_A.weight"] = torch.ones(1, linear.in_features)
        halves[f"{name}.lora_B.weight"] = torch.ones(linear.out_features, 1)
    save_file(halves, folder / "all.safetensors")
    return folder / "all.safetensors"
