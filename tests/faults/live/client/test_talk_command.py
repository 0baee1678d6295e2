"""`avatar talk` as a user runs it: one sentence for a mistake, a whole file whatever ends it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import av
import pytest

from server.config import ServerConfig
from tests.support.odd_sounds import pcm16, voice, wav
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import Stand, serving

pytestmark = pytest.mark.realtime


@pytest.fixture
async def stand(character_root):
    async with serving(ServerConfig(), FlashBackend(character_root)) as stand:
        yield stand


async def begin(stand: Stand, folder: Path, *options: str, seconds: float = 0.5, **environment):
    (folder / "hello.wav").write_bytes(wav(pcm16(voice(seconds))))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server.cli.avatar", "talk", "hello.wav", *options),
        *("--url", f"http://127.0.0.1:{stand.port}", "--character", "ana"),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
    )


async def talk(stand: Stand, folder: Path, *options: str, **more) -> tuple[int, bytes, str]:
    process = await begin(stand, folder, *options, **more)
    out, told = await process.communicate()
    return process.returncode, out, told.decode()


@pytest.mark.fault("intruders")
async def test_a_talk_onto_a_full_disk_says_so_and_harms_nothing(stand, tmp_path):
    """A talk whose recording finds no room ends with one sentence, and its session properly."""
    (tmp_path / "full.mp4").symlink_to("/dev/full")
    code, _, told = await talk(stand, tmp_path, "--out", "full.mp4")
    assert (code, told) == (1, "full.mp4 is broken: No space left on device.\n")


@pytest.mark.fault("shutdown")
@pytest.mark.parametrize(("sent", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_talk_that_is_ended_by_a_signal_leaves_a_whole_recording(
    stand, tmp_path, sent, expected
):
    """SIGINT and SIGTERM end a talk with a whole recording."""
    process = await begin(stand, tmp_path, "--out", "a.mp4", seconds=60)
    file = tmp_path / "a.mp4"
    async with asyncio.timeout(60):
        while not (file.exists() and file.stat().st_size > 1000):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    process.send_signal(sent)
    _, told = await process.communicate()

    assert process.returncode == expected
    assert told.decode() == "Interrupted. a.mp4 holds the talk so far.\n"
    with av.open(str(file)) as container:
        assert sum(1 for _ in container.decode(video=0)) >= 10
    assert file.read_bytes()[40:44] == b"mdat"  # no fragments: it was finished


@pytest.mark.fault("turns")
async def test_an_interruption_after_the_speech_ends_with_it_and_says_so(stand, tmp_path):
    """An interruption that comes too late does not wait: the talk ends with its speech."""
    code, out, told = await talk(
        stand, tmp_path, "--interrupt-after", "60", PYTHONIOENCODING="ascii"
    )
    assert code == 0
    assert told == "Nothing was interrupted: the speech was over before 60 s.\n"
    assert b"ana -> talk.mp4" in out  # the arrow is no ASCII letter
