"""The build cache: every engine once, complete or not at all, whatever interrupts the build."""

import errno
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from export.cache import EngineCache
from runtime.engine.description import EngineDescription, EngineKey
from runtime.errors import EngineError
from tests.support.engines.tiny_engine import BUILT, build, visible

TIMEOUT_S = 60.0


def must_not_build(folder: Path) -> EngineDescription:
    raise AssertionError("the engine was there")


def test_an_engine_is_built_once(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    built = cache.engine(BUILT, build)
    assert cache.engine(BUILT, must_not_build) == built


def test_other_weights_are_another_engine(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    cache.engine(BUILT, build)
    other = EngineKey("denoiser", "onnx", "fp32", "some shape", "other weights")
    with pytest.raises(AssertionError):
        cache.engine(other, must_not_build)


def test_two_threads_that_need_the_same_engine_build_it_once(tmp_path: Path) -> None:
    builds: list[Path] = []
    both = threading.Barrier(2)

    def slow(folder: Path) -> EngineDescription:
        builds.append(folder)
        return build(folder)

    def want() -> None:
        both.wait()
        EngineCache(tmp_path).engine(BUILT, slow)

    threads = [threading.Thread(target=want) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1


@pytest.mark.fault("engine-files")
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """A full disk while an engine is built leaves nothing behind."""

    def full(folder: Path) -> EngineDescription:
        (folder / "model.onnx").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(EngineError, match=r"full.*make room"):
        EngineCache(tmp_path).engine(BUILT, full)
    assert visible(tmp_path) == []


def test_an_interrupted_build_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> EngineDescription:
        (folder / "model.onnx").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        EngineCache(tmp_path).engine(BUILT, interrupted)
    assert visible(tmp_path) == []


def build_when_told(root: Path, pipe: Connection) -> None:
    """Wants the engine, and builds it slowly: until it is told to go on."""

    def slow(folder: Path) -> EngineDescription:
        (folder / "model.onnx").write_bytes(b"half")
        pipe.send("building")
        pipe.recv()
        return build(folder)

    pipe.send("wants")
    EngineCache(root).engine(BUILT, slow)
    pipe.send("has it")


@dataclass(frozen=True, slots=True)
class Builder:
    """Another process that wants the engine."""

    process: ForkProcess
    pipe: Connection

    def said(self) -> str:
        assert self.pipe.poll(TIMEOUT_S)
        return self.pipe.recv()

    def go_on(self) -> None:
        self.pipe.send("go on")


@contextmanager
def builder(root: Path) -> Iterator[Builder]:
    fork = get_context("fork")  # nothing is imported anew
    ours, theirs = fork.Pipe()
    process = fork.Process(target=build_when_told, args=(root, theirs))
    process.start()
    theirs.close()
    started = Builder(process, ours)
    try:
        assert started.said() == "wants"
        yield started
    finally:
        process.kill()
        process.join()
        ours.close()


@pytest.mark.fault("engine-files")
def test_a_killed_build_is_done_again(tmp_path: Path) -> None:
    """A build that was killed is done again."""
    with builder(tmp_path) as other:
        assert other.said() == "building"
    folder, _ = EngineCache(tmp_path).engine(BUILT, build)
    assert (folder / "model.onnx").read_bytes() == b"weights"
    assert visible(tmp_path) == [BUILT.folder]


@pytest.mark.fault("engine-files")
def test_a_second_process_waits_and_does_not_build(tmp_path: Path) -> None:
    """Two processes that need one engine build it once."""
    with builder(tmp_path) as first:
        assert first.said() == "building"
        with builder(tmp_path) as second:
            first.go_on()
            assert first.said() == "has it"
            assert second.said() == "has it"


def test_a_process_that_waits_for_a_killed_build_builds(tmp_path: Path) -> None:
    with builder(tmp_path) as first:
        assert first.said() == "building"
        with builder(tmp_path) as second:
            first.process.kill()
            assert second.said() == "building"
            second.go_on()
            assert second.said() == "has it"
    assert visible(tmp_path) == [BUILT.folder]


FULL = """
import subprocess, sys
from pathlib import Path
import numpy as np
from onnx import TensorProto, helper, numpy_helper
from export.cache import EngineCache
from export.to_onnx import save_graph
from tests.support.engines.tiny_engine import BUILT, visible
root = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", root], check=True)
def build(folder):
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, (4,))
    weight = numpy_helper.from_array(np.ones((1024, 1024), np.float32), "w")
    save_graph(helper.make_model(helper.make_graph([], "large", [], [value], [weight])), folder)
try:
    EngineCache(root).engine(BUILT, build)
except Exception as error:
    print(type(error).__name__, error, visible(root))
"""
OWN_MOUNTS = ["unshare", "--map-root-user", "--mount"]


def may_mount() -> bool:
    """May this user mount a file system that only one process sees?"""
    if shutil.which(OWN_MOUNTS[0]) is None:
        return False
    mount = [*OWN_MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(mount, capture_output=True).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="may not mount a small file system here")
def test_a_disk_of_one_megabyte_says_so_and_stays_empty(tmp_path: Path) -> None:
    command = [*OWN_MOUNTS, sys.executable, "-c", FULL, str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.startswith(f"EngineError The disk of {tmp_path} is full")
    assert shown.endswith("[]\n")


@pytest.mark.fault("engine-files")
def test_a_damaged_engine_is_built_again(tmp_path: Path) -> None:
    """A damaged engine is built again."""
    cache = EngineCache(tmp_path)
    folder, _ = cache.engine(BUILT, build)
    (folder / "model.onnx").write_bytes(b"weigh")
    cache.engine(BUILT, build)
    assert (folder / "model.onnx").read_bytes() == b"weights"
