"""Headless Chromium on the page, and what can be seen and heard there."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--autoplay-policy=no-user-gesture-required",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--allow-loopback-in-peer-connection",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)
START_MS = 30_000

# Watches every shown picture at each face's mouth, and the loudness of the received sound.
WATCH = """
async ({boxes, wanted}) => {
  const {mouthRegion} = await import("/mouth_watch.js");
  const video = document.getElementById("video");
  const pen = Object.assign(document.createElement("canvas"), {width: 32, height: 16})
    .getContext("2d", {willReadFrequently: true});
  const copy = ({x, y, width, height}) => {
    const [w, h] = [video.videoWidth, video.videoHeight];
    pen.drawImage(video, x * w, y * h, width * w, height * h, 0, 0, 32, 16);
    const pixels = pen.getImageData(0, 0, 32, 16).data;
    return Float32Array.from({length: 512}, (_, i) => pixels[4 * i + 1]);
  };
  const context = new AudioContext();
  await context.resume();
  const analyser = context.createAnalyser();
  analyser.fftSize = 2048;
  context.createMediaStreamSource(video.srcObject).connect(analyser);
  const wave = new Float32Array(2048);
  const mouths = boxes.map(() => []);
  let pictures = 0, loudest = 0;
  const until = performance.now() + 20_000;
  const look = () => {
    pictures++;
    boxes.forEach((box, i) => mouths[i].push(copy(mouthRegion(box))));
    if (pictures < wanted) video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  while (pictures < wanted && performance.now() < until) {
    await new Promise((done) => setTimeout(done, 20));
    analyser.getFloatTimeDomainData(wave);
    loudest = Math.max(loudest, Math.sqrt(wave.reduce((sum, x) => sum + x * x, 0) / 2048));
  }
  await context.close();
  // How far the mouth ranges: the mean spread of its pixels over the pictures.
  const ranges = mouths.map((seen) => {
    const pixels = seen[0].length;
    let total = 0;
    for (let p = 0; p < pixels; p++) {
      const values = seen.map((one) => one[p]);
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      total += Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
    }
    return total / pixels;
  });
  return {pictures, loudest, ranges};
}
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """What was shown and heard: `mouths` is how much each speaker's mouth region changed."""

    pictures: int
    loudest: float
    mouths: list[float]


@dataclass(slots=True)
class OpenPage:
    page: Page
    base: str
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    async def watch(self, boxes: list[dict[str, float]], pictures: int) -> Watched:
        """Watch and listen while so many pictures are shown."""
        seen = await self.page.evaluate(WATCH, {"boxes": boxes, "wanted": pictures})
        return Watched(seen["pictures"], seen["loudest"], seen["ranges"])

    async def until_live(self) -> None:
        await self.page.wait_for_selector("#stage[data-state=live]", timeout=START_MS)

    async def until_state(self, state: str) -> None:
        """Until some speaker's name tag says `state`."""
        await self.page.wait_for_selector(f"#tags [data-state={state}]", timeout=START_MS)

    async def until_all_idle(self) -> None:
        await self.page.wait_for_function(
            "!document.querySelector('#tags [data-state=speaking]')", timeout=START_MS
        )

    async def events(self) -> list[str]:
        """The page's list of events, newest first."""
        return await self.page.locator("#events li").all_text_contents()


@contextlib.asynccontextmanager
async def chromium(*arguments: str, without: str = "") -> AsyncIterator[Browser]:
    """A browser that gives the microphone to every page, unless `without` names that argument."""
    kept = [each for each in ARGUMENTS if each != without]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*kept, *arguments]
        )
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def opened(
    browser: Browser, base: str, path: str = "/", **view: Any
) -> AsyncIterator[OpenPage]:
    """The page in a fresh browser profile.

    `wait_for_function` needs `eval`, which the page's policy forbids: it is off here unless a test
    asks for it by `bypass_csp=False`.
    """
    context = await browser.new_context(**{"bypass_csp": True, **view})
    page = await context.new_page()
    it = OpenPage(page, base)
    page.on("pageerror", lambda error: it.errors.append(str(error)))
    page.on("request", lambda request: it.requests.append(request.url))
    try:
        await page.goto(base + path)
        yield it
    finally:
        await context.close()
