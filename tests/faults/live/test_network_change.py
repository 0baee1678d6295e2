"""A client whose network changes goes on in its session."""

import asyncio

import pytest
from avatar_client.client import AvatarClient
from avatar_client.events import OutputStarted, OutputStopped

from server.config import ServerConfig
from tests.support.serving.browser import chromium
from tests.support.serving.flash import FlashBackend
from tests.support.serving.stand import client, serving, until

PAGE = """
async () => {
  const {Session} = await import("/session.js");
  const session = window.session = new Session({character: "ana", rate: 16000});
  window.ids = new Set(); window.ended = [];
  session.on("event", () => ids.add(session.granted.session_id));
  session.on("end", (reason) => ended.push(reason));
  window.frames = async () => {
    for (const one of ((await session.peer?.getStats()) ?? new Map()).values()) {
      if (one.type === "inbound-rtp" && one.kind === "video") return one.framesDecoded;
    }
    return 0;
  };
  window.untilFrames = async (wanted) => {
    while (await frames() < wanted) await new Promise((done) => setTimeout(done, 20));
  };
  await untilFrames(10);
}
"""
CHANGE = """
async () => {
  const before = session.peer.localDescription.sdp.match(/a=ice-ufrag:(.*)/)[1];
  window.dispatchEvent(new Event("online"));
  while (session.peer.remoteDescription.sdp === window.answered
         || session.peer.localDescription.sdp.includes("a=ice-ufrag:" + before)
         || session.peer.signalingState !== "stable"
         || session.peer.connectionState !== "connected") {
    await new Promise((done) => setTimeout(done, 20));
  }
  await untilFrames(await frames() + 10);
  return {ids: ids.size, ended};
}
"""


@pytest.mark.fault("offers")
async def test_a_page_whose_network_changes_goes_on_in_its_session(character_root):
    """A browser whose network changes restarts ICE by itself, and its session goes on."""
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        chromium() as browser,
    ):
        page = await browser.new_page()
        await page.goto(f"http://127.0.0.1:{stand.port}/icon.svg")
        await page.evaluate(PAGE)
        (session,) = stand.hub.sessions.values()
        before = session.media._peer
        async with asyncio.timeout(30):
            assert await page.evaluate(CHANGE) == {"ids": 1, "ended": []}
        assert list(stand.hub.sessions.values()) == [session]
        assert session.media._peer is not before
        await until(lambda: not before.is_alive)


@pytest.mark.fault("offers")
async def test_an_offer_of_a_living_session_takes_over_and_the_item_plays_on(
    character_root, speech
):
    """A new offer takes over from the peer that still plays; an item loses and repeats nothing."""
    async with (
        serving(ServerConfig(), FlashBackend(character_root)) as stand,
        client(stand, "?character=ana") as talk,
    ):
        (session,) = stand.hub.sessions.values()
        await talk.say(speech(2_000))
        await talk.until(OutputStarted)
        old_peer, before = talk.peer, session.media._peer
        await talk.open_media()
        await talk.till(lambda: session.media._peer is not before)
        await until(lambda: not before.is_alive)
        stopped = await talk.until(OutputStopped)
        assert stopped.audio_end_ms == 2_000
        await old_peer.close()


@pytest.mark.fault("offers")
async def test_the_python_client_offers_again_in_its_session(character_root):
    """The Python client opens its media again in the same session after a change of network."""
    async with serving(ServerConfig(), FlashBackend(character_root)) as stand:
        url = f"http://127.0.0.1:{stand.port}"
        async with await AvatarClient.connect(url, "ana") as talk:
            seen = asyncio.Event()
            for _ in range(3):
                media = await talk.open_media()
                seen.clear()
                media.tap(lambda _: seen.set())
                async with asyncio.timeout(20):
                    await seen.wait()
            assert len(stand.hub.sessions) == 1
