"""The snippets of README, run as they are written there."""

import asyncio
import re
import textwrap
from pathlib import Path

import numpy as np
from avatar_client.events import OutputStarted

import client_demo
from runtime.character.registry import CharacterRegistry
from runtime.character.store import BUILTIN_CHARACTERS
from server.config import Listen, ServerConfig
from tests.support.serving.browser import chromium, opened
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import serving

README = Path(client_demo.__file__).parents[1] / "README.md"


def snippet(language: str) -> str:
    """The first block of that language."""
    found = re.search(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def backend() -> FlashBackend:
    made = FlashBackend(BUILTIN_CHARACTERS)
    made.characters = CharacterRegistry((BUILTIN_CHARACTERS,))
    return made


async def test_the_browser_snippet_shows_a_moving_video(tmp_path: Path) -> None:
    code = snippet("js")
    assert "localhost:8080" in code
    code = code.replace("localhost:8080", '" + location.host + "')
    page = f"<video autoplay muted></video><script type=module>{code}</script>"
    (tmp_path / "index.html").write_text(page)
    config = ServerConfig(listen=Listen(web_dir=tmp_path))
    async with (
        serving(config, backend()) as stand,
        chromium() as browser,
        opened(browser, f"http://127.0.0.1:{stand.port}") as it,
    ):
        await it.page.wait_for_function(
            "document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames > 10"
        )
        assert not it.errors


async def test_the_python_snippet_speaks_and_interrupts() -> None:
    async def tts_chunks():
        for _ in range(20):
            yield np.full(2400, 9000, "<i2").tobytes()
            await asyncio.sleep(0.02)

    code = snippet("python")
    assert "http://127.0.0.1:8080" in code
    async with serving(ServerConfig(), backend()) as stand:
        code = code.replace("127.0.0.1:8080", f"127.0.0.1:{stand.port}")
        line = next(each for each in code.splitlines() if "interrupt" in each)
        speak = next(each for each in code.splitlines() if "avatar.speak" in each)
        code = code.replace(speak, f"    events = avatar.events()\n{speak}")
        started = "    await anext(e async for e in events if type(e) is OutputStarted)"
        code = code.replace(line, f"{started}\n{line}")
        body = textwrap.indent(code, "    ")
        names = {"tts_chunks": tts_chunks(), "OutputStarted": OutputStarted}
        exec(f"async def run():\n{body}\n    return media", names)
        media = await asyncio.wait_for(names["run"](), 30)
        assert media is not None
