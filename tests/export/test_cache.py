"""The build cache: once, whole or not at all, whatever happens meanwhile."""

import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from export.cache import EngineCache
from runtime.engine.description import Built, EngineDescription, file_hash
from runtime.errors import EngineError

BUILT = Built("denoiser", "onnx", "fp32", "some shape", "some weights")


def build(folder: Path) -> EngineDescription:
    """An engine of one small file."""
    (folder / "model.onnx").write_bytes(b"weights")
    return EngineDescription(BUILT, (), (), {"model.onnx": file_hash(folder / "model.onnx")})


def must_not_build(folder: Path) -> EngineDescription:
    raise AssertionError("the engine was there")


def visible(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if not path.name.endswith(".lock"))


def test_an_engine_is_built_once(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    cache.engine(BUILT, build)
    cache.engine(BUILT, must_not_build)


def test_other_weights_are_another_engine(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    cache.engine(BUILT, build)
    other = Built("denoiser", "onnx", "fp32", "some shape", "other weights")
    with pytest.raises(AssertionError):
        cache.engine(other, must_not_build)


def test_two_who_want_the_same_engine_build_it_once(tmp_path: Path) -> None:
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


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
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


KILLED = """
import sys, time
from pathlib import Path
from export.cache import EngineCache
from tests.export.test_cache import BUILT
def build(folder):
    (folder / "model.onnx").write_bytes(b"half")
    print("building", flush=True)
    time.sleep(60)
EngineCache(Path(sys.argv[1])).engine(BUILT, build)
"""


def test_a_killed_build_is_done_again(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"building\n"
        process.kill()
    folder, _ = EngineCache(tmp_path).engine(BUILT, build)
    assert (folder / "model.onnx").read_bytes() == b"weights"
    assert visible(tmp_path) == [BUILT.folder]


def test_a_damaged_engine_is_built_again(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    folder, _ = cache.engine(BUILT, build)
    (folder / "model.onnx").write_bytes(b"weigh")
    cache.engine(BUILT, build)
    assert (folder / "model.onnx").read_bytes() == b"weights"
