"""The page in real headless Chromium against a running server with the built-in model."""

import re
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

import client_demo
from server.config import Model, ServerConfig
from server.generation.runtime_backend import RuntimeBackend
from server.protocol.binary import parse_binary
from tests.support.serving.browser import chromium, opened
from tests.support.serving.stand import serving

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

SAMPLES = Path(client_demo.__file__).parent / "samples"
KEEP_SOCKETS = """
const Open = WebSocket;
window.sockets = [];
window.WebSocket = class extends Open {
  constructor(...all) { super(...all); sockets.push(this); }
};
"""
DRAG_HELLO = """
async () => {
  const dragged = new DataTransfer();
  const sound = await (await fetch("/samples/hello.wav")).arrayBuffer();
  dragged.items.add(new File([sound], "hello.wav"));
  return dragged;
}
"""
SPEAKS = 2.5  # a speaking mouth changes at least so many times as much as a resting one


@pytest.fixture(scope="module")
def engine() -> RuntimeBackend:
    return RuntimeBackend(Model())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def base(engine):
    async with serving(ServerConfig(), engine) as stand:
        yield f"http://127.0.0.1:{stand.port}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser():
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(base, browser):
    """One page for what needs no talk."""
    async with opened(browser, base) as it:
        await it.page.wait_for_selector(".thumb")
        yield it


def character(engine, speakers: int):
    return next(one for one in engine.characters.read().values() if len(one.speakers) == speakers)


def boxes(character) -> list[dict[str, float]]:
    return [speaker.box.as_dict() for speaker in character.speakers]


async def test_a_newcomer_clicks_once_and_sees_and_hears_the_character_talk(base, browser, engine):
    one = character(engine, speakers=1)
    async with opened(browser, base, f"/?character={one.id}") as it:
        await it.until_live()
        resting = await it.watch(boxes(one), 25)
        await it.page.click("#hello")
        await it.until_state("speaking")
        talking = await it.watch(boxes(one), 50)
        await it.until_all_idle()
        await it.page.wait_for_timeout(500)
        after = await it.watch(boxes(one), 25)

        assert (resting.pictures, talking.pictures, after.pictures) == (25, 50, 25)
        assert talking.loudest > 0.02
        assert max(resting.loudest, after.loudest) < 0.005
        assert talking.mouths[0] > SPEAKS * max(resting.mouths[0], after.mouths[0])
        assert it.errors == []


async def test_the_page_says_how_late_and_how_even_the_stream_is(base, browser, engine):
    async with opened(browser, base) as it:
        await it.until_live()
        await it.page.click("#hello")
        await it.until_state("speaking")
        await it.page.wait_for_function(
            "[...document.querySelectorAll('.readings dd')]"
            ".filter(({id}) => id !== 'read-buffer').every(({textContent: t}) => t !== '–')",
            timeout=20_000,
        )
        readings = await it.page.locator(".readings dd:not(#read-buffer)").all_text_contents()
        assert readings
        assert all(re.search(r"\d", reading) for reading in readings)


async def test_escape_interrupts_the_character(base, browser, engine):
    async with opened(browser, base) as it:
        await it.until_live()
        await it.page.click("#hello")
        await it.until_state("speaking")
        await it.page.keyboard.press("Escape")
        await it.until_all_idle()

        assert any(line.startswith("output_audio_buffer.cleared") for line in await it.events())


async def test_an_uploaded_file_moves_only_the_chosen_speaker(base, browser, engine):
    pair = character(engine, speakers=2)
    async with opened(browser, base, f"/?character={pair.id}") as it:
        await it.until_live()
        await it.page.click(f"#speakers [data-id='{pair.speakers[1].id}']")
        await it.page.set_input_files("#file", SAMPLES / "hello.wav")
        await it.until_state("speaking")
        silent, speaking = (await it.watch(boxes(pair), 50)).mouths

        assert speaking > SPEAKS * silent


async def test_a_file_that_is_no_sound_is_told_by_its_name(base, browser):
    async with opened(browser, base) as it:
        await it.until_live()
        await it.page.set_input_files("#file", Path(client_demo.__file__).parent / "web/cast.webp")
        await it.page.wait_for_selector("#notice:not([hidden])")
        assert "cast.webp holds no sound" in await it.page.inner_text("#notice")


async def test_a_dropped_file_is_spoken(base, browser):
    async with opened(browser, base) as it:
        await it.until_live()
        dragged = await it.page.evaluate_handle(DRAG_HELLO)
        await it.page.dispatch_event("#stage", "drop", {"dataTransfer": dragged})
        await it.until_state("speaking")
        assert (await it.watch([], 25)).loudest > 0.02


async def test_a_refused_microphone_is_told(base):
    always = "--use-fake-ui-for-media-stream"
    async with chromium(without=always) as browser, opened(browser, base) as it:
        await it.until_live()
        await it.page.click("#microphone")
        await it.page.wait_for_selector("#notice:not([hidden])")
        assert "microphone" in await it.page.inner_text("#notice")
        assert await it.page.get_attribute("#microphone", "aria-pressed") == "false"


async def test_both_of_a_pair_take_their_turns_in_the_dialogue(base, browser, engine):
    pair = character(engine, speakers=2)
    async with opened(browser, base, f"/?character={pair.id}") as it:
        await it.until_live()
        await it.page.click("#hello")
        for speaker in pair.speakers:
            await it.page.wait_for_selector(
                f"#tags [data-id='{speaker.id}'][data-state=speaking]", timeout=30_000
            )
        started = [line for line in await it.events() if "output_audio_buffer.started" in line]
        turns = [s.id for line in started for s in pair.speakers if f'"{s.id}"' in line]
        assert set(turns[-2:]) == {speaker.id for speaker in pair.speakers}  # the two oldest


async def test_typed_text_is_spoken(base, browser, engine):
    async with opened(browser, base) as it:
        await it.until_live()
        await it.page.fill("#text", "Good morning.")
        await it.page.press("#text", "Enter")
        await it.until_state("speaking")
        assert (await it.watch([], 25)).loudest > 0.02


async def test_a_voice_at_the_microphone_is_spoken_by_the_character(base, engine):
    voice = f"--use-file-for-fake-audio-capture={SAMPLES / 'hello.wav'}"
    async with chromium(voice) as browser, opened(browser, base) as it:
        await it.until_live()
        await it.page.click("#microphone")
        await it.until_state("speaking")
        assert (await it.watch([], 50)).loudest > 0.01
        assert await it.page.get_attribute("#microphone", "aria-pressed") == "true"


async def test_each_of_a_pair_has_their_own_emotion(base, browser, engine):
    pair = character(engine, speakers=2)
    pressed = "document.querySelector('#emotions [aria-pressed=true]').dataset.id"
    async with opened(browser, base, f"/?character={pair.id}") as it:
        await it.until_live()
        await it.page.click("#emotions [data-id=happy]")
        await it.page.click(f"#speakers [data-id='{pair.speakers[1].id}']")
        assert await it.page.evaluate(pressed) == "neutral"
        await it.page.click(f"#speakers [data-id='{pair.speakers[0].id}']")
        assert await it.page.evaluate(pressed) == "happy"
        await it.watch([], 25)
        assert [line for line in await it.events() if line.startswith("error")] == []


async def test_another_character_is_a_click_away(base, browser, engine):
    names = list(engine.characters.read())
    async with opened(browser, base, f"/?character={names[0]}") as it:
        await it.until_live()
        await it.page.click(f".thumb[data-id='{names[-1]}']")
        await it.page.wait_for_selector("#stage:not([data-state=live])")
        await it.until_live()

        assert any(f'"character":"{names[-1]}"' in line for line in await it.events())


async def test_a_lost_socket_is_taken_up_again_without_a_break_in_the_picture(
    base, browser, engine
):
    async with opened(browser, base) as it:
        await it.page.add_init_script(KEEP_SOCKETS)
        await it.page.reload()
        await it.until_live()
        await it.page.evaluate("sockets[0].close()")
        await it.page.wait_for_function("sockets[1]?.readyState === 1", timeout=10_000)
        assert (await it.watch([], 25)).pictures == 25
        await it.page.click("#hello")
        await it.until_state("speaking")


async def test_an_unknown_character_in_the_address_is_named_and_another_one_shown(base, browser):
    async with opened(browser, base, "/?character=nobody") as it:
        await it.page.wait_for_selector("#notice:not([hidden])")
        assert "no character “nobody”" in await it.page.inner_text("#notice")
        await it.until_live()


async def test_hello_is_offered_again_after_the_talk(base, browser):
    async with opened(browser, base) as it:
        await it.until_live()
        await it.page.click("#hello")
        await it.until_state("speaking")
        assert not await it.page.is_visible("#hello")
        await it.page.keyboard.press("Escape")
        await it.page.click("#hello", timeout=10_000)
        await it.until_state("speaking")


async def test_the_minimal_page_lets_a_character_speak(base, browser):
    async with opened(browser, base, "/minimal.html") as it:
        await it.page.click("#speak:not([disabled])", timeout=30_000)
        await it.page.wait_for_function("state.value === 'speaking'", timeout=30_000)
        assert (await it.watch([], 75)).loudest > 0.02
        await it.page.wait_for_function("state.value === 'idle'", timeout=30_000)
        assert it.errors == []


async def test_the_page_needs_nothing_from_other_hosts(shared, base):
    assert [url for url in shared.requests if not url.startswith((base, "blob:", "data:"))] == []


async def test_every_control_has_a_name_that_is_read_aloud(shared):
    nameless = await shared.page.evaluate(
        "[...document.querySelectorAll('button, input, select, meter')].filter((one) =>"
        " !one.textContent.trim() && !one.labels?.length && !one.ariaLabel).map(({id}) => id)"
    )
    assert nameless == []


async def test_a_narrow_page_does_not_scroll_sideways(shared):
    await shared.page.set_viewport_size({"width": 360, "height": 740})
    voice, gallery = [
        await shared.page.locator(one).bounding_box() for one in (".panel", ".gallery")
    ]

    assert gallery["y"] < voice["y"]  # choosing comes first
    assert await shared.page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_a_recorded_dialogue_is_cut_into_its_turns(shared):
    turns = await shared.page.evaluate(
        """async () => {
          const {splitTurns} = await import("/dialogue.js");
          const tracks = [new Int16Array(4000), new Int16Array(4000)];
          tracks[0].fill(9000, 200, 600); tracks[0].fill(9000, 800, 1000);
          tracks[1].fill(-9000, 1400, 2000);
          tracks[0].fill(9000, 3000, 3400);
          return splitTurns(tracks, 1000).map(({track, samples}) => [track, samples.length]);
        }"""
    )
    margins = 2 * 60
    assert turns == [[0, 800 + margins], [1, 600 + margins], [0, 400 + margins]]


async def test_a_dialogue_that_is_interrupted_while_a_turn_plays_sends_no_further_turn(shared):
    played = await shared.page.evaluate(
        """async () => {
          const {playDialogue} = await import("/dialogue.js");
          const played = [], ended = new AbortController();
          const input = (speaker) => (
            {speaker, session: {rate: 1000}, play: async () => played.push(speaker)});
          const samples = new Int16Array(10_000); // ten seconds
          const turns = ["ana", "ben"].map((speaker) => ({input: input(speaker), samples}));
          setTimeout(() => ended.abort(), 20);
          await playDialogue(turns, {signal: ended.signal, started: async () => {}});
          return played;
        }"""
    )
    assert played == ["ana"]


async def test_the_binary_message_of_the_page_is_the_servers(shared):
    samples = [0, 1, -1, 32767, -32768]
    message = await shared.page.evaluate(
        "async (samples) => [...new Uint8Array((await import('/wire.js'))"
        ".appendMessage(Int16Array.from(samples), 1, 7, true))]",
        samples,
    )
    append = parse_binary(bytes(message))

    assert (append.speaker, append.commit) == (1, True)
    assert np.frombuffer(append.audio, "<i2").tolist() == samples


@pytest.mark.fault("odd-sound")
async def test_a_file_that_is_too_quiet_is_told_from_a_silent_one(shared):
    """The page says that a file is too quiet rather than that it has no sound."""
    said = await shared.page.evaluate(
        """async () => {
          const {withoutLeadingSilence} = await import("./speaker_input.js");
          return [0, 100].map((peak) => {
            try { withoutLeadingSilence(new Int16Array(100).fill(peak)); }
            catch ({message}) { return message; }
          });
        }"""
    )
    assert "silent" in said[0]
    assert "too quiet: its loudest sound is at -50 dB" in said[1]
