"""The page in a browser behind a reverse proxy, set up well and set up badly."""

import asyncio
import contextlib
import ssl

import pytest

from server.config import Listen, Model, ServerConfig
from tests.support.network.reverse_proxy import ProxySettings, proxying, self_signed
from tests.support.serving.browser import chromium, opened
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import serving

KEY = "a-key-of-24-characters-0"


pytestmark = pytest.mark.slow


@pytest.fixture
async def browser():
    async with chromium() as browser:
        yield browser


@contextlib.asynccontextmanager
async def behind(settings: ProxySettings, root, listen: Listen | None = None, tls=None):
    """The page's address behind a proxy."""
    config = ServerConfig(listen or Listen(), model=Model(characters=(root,)))
    async with (
        serving(config, FlashBackend(root)) as stand,
        proxying(stand.port, settings, tls) as address,
    ):
        yield stand, address


async def notice(page) -> str:
    await page.wait_for_selector("#notice:not([hidden])", timeout=20_000)
    return str(await page.inner_text("#notice"))


@pytest.mark.fault("intruders")
@pytest.mark.parametrize("is_tls", [False, True])
async def test_the_page_works_under_a_sub_path(character_root, browser, tmp_path, is_tls):
    """The page works behind a proxy under any sub-path, with TLS and with a key."""
    tls = None
    if is_tls:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*self_signed(tmp_path))
    listen = Listen(api_key=KEY) if is_tls else Listen()
    async with (
        behind(ProxySettings("/some/place/"), character_root, listen, tls) as (_, address),
        opened(browser, address, "", ignore_https_errors=True, bypass_csp=False) as it,
    ):
        said: list[str] = []
        it.page.on("console", lambda message: said.append(message.text))
        if is_tls:
            await it.page.fill("#key", KEY + " ")
            await it.page.press("#key", "Enter")
        await it.until_live()
        pictures = await it.page.evaluate("[...document.images].every((one) => one.complete)")
        assert pictures
        if not is_tls:  # it has no field for a key
            await it.page.goto(f"{address}minimal.html")
            await it.page.wait_for_selector("#speak:not([disabled])", timeout=20_000)
        assert [url for url in it.requests if not url.startswith((address, "blob:"))] == []
        assert it.errors == []
        assert [text for text in said if "Content Security Policy" in text] == []


BAD_PROXIES = [
    (ProxySettings(host="127.0.0.1"), "proxy_set_header Host $http_host"),
    (ProxySettings(host="upstream", passes_upgrade=False), "without an API key"),
    (ProxySettings(passes_upgrade=False), "headers Upgrade and Connection"),
]


@pytest.mark.fault("intruders")
async def test_the_page_says_why_a_proxy_lets_no_socket_through(character_root, browser):
    """Behind a proxy that changes Host or drops Upgrade, the page says so and what to do."""
    config = ServerConfig(model=Model(characters=(character_root,)))
    async with serving(config, FlashBackend(character_root)) as stand:
        for settings, told in BAD_PROXIES:
            async with (
                proxying(stand.port, settings) as address,
                opened(browser, address, "") as it,
            ):
                said = await notice(it.page)
                assert told in said
                assert "server is gone" not in said


@pytest.mark.fault("sockets")
async def test_the_page_tells_a_session_that_is_over_from_a_server_that_is_gone(
    character_root, browser
):
    """The page tells a session that is over from a server that is gone."""
    async with (
        behind(ProxySettings(), character_root) as (stand, address),
        opened(browser, address, "") as it,
    ):
        await it.page.add_init_script(
            "const Open = WebSocket; window.sockets = [];"
            "window.WebSocket = class extends Open {"
            " constructor(...all) { super(...all); sockets.push(this); } };"
        )
        await it.page.reload()
        await it.until_live()
        *_, session = stand.hub.sessions.values()  # the one after the reload
        session.secret = "changed"  # as after a restart of the server: it knows the session no more
        del stand.hub.sessions[session.id]
        await it.page.evaluate("sockets[0].close()")
        assert "No session lives under that id" in await notice(it.page)
        stand.hub.sessions[session.id] = session
        await asyncio.wait_for(session.close("the end of the test"), 10)
