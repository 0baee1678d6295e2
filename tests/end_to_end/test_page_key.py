"""The page on a server that wants an API key."""

import pytest

from server.config import Listen, ServerConfig
from tests.support.serving.browser import chromium, opened
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import serving

pytestmark = pytest.mark.slow

KEY = "open-sesame,please"


async def test_the_page_asks_for_the_key_and_plays(character_root):
    config = ServerConfig(listen=Listen(api_key=KEY))
    async with (
        serving(config, FlashBackend(character_root)) as stand,
        chromium() as browser,
        opened(browser, f"http://127.0.0.1:{stand.port}") as it,
    ):
        await it.page.fill("#key", "a wrong one")
        await it.page.press("#key", "Enter")
        await it.page.wait_for_selector("#key-dialog[open]")
        await it.page.fill("#key", KEY)
        await it.page.press("#key", "Enter")
        await it.until_live()

        assert KEY not in " ".join(it.requests)
