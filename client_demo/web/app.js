// @ts-check
// Connects the controls of the page to its actions.

import { Page } from "./page.js";
import * as ui from "./ui.js";
import { voiceFor, VOICES } from "./voices.js";

const { find } = ui;
const page = new Page();
const stage = find("stage");

find("video").addEventListener("playing", page.onPlaying);
find("hello").onclick = () => page.attempt(page.playSample);
find("sample").onclick = () => page.attempt(page.playSample);
find("mute").onclick = () => page.setMuted(!find("video").muted);
find("interrupt").onclick = page.interrupt;
document.addEventListener("keydown", ({ key }) => { if (key === "Escape") page.interrupt(); });
find("microphone").onclick = () => (
  page.microphone.isOn ? page.stopMicrophone() : page.attempt(page.startMicrophone));

find("file-button").onclick = () => find("file").click();
find("file").onchange = () => {
  const file = find("file").files?.[0];
  find("file").value = "";
  if (file) page.attempt(() => page.playFile(file));
};
document.addEventListener("dragover", (dragged) => {
  dragged.preventDefault(); // else the browser leaves the page for the dropped file
  stage.classList.add("dropping");
});
document.addEventListener("dragleave", ({ relatedTarget }) => {
  if (!relatedTarget) stage.classList.remove("dropping");
});
document.addEventListener("drop", (dropped) => {
  dropped.preventDefault();
  stage.classList.remove("dropping");
  const file = dropped.dataTransfer?.files[0];
  if (file) page.attempt(() => page.playFile(file));
});

find("text-form").onsubmit = (submitted) => {
  submitted.preventDefault();
  const text = find("text").value.trim();
  if (!text) return;
  find("text").value = "";
  page.attempt(() => page.playText(text, find("voice").value));
};
find("voice").append(...VOICES.map(({ id, name }) => (
  ui.make("option", { value: id, textContent: name }))));
find("voice").value = voiceFor(navigator.language);

find("strength").oninput = () => {
  find("strength-value").textContent = `${find("strength").value} %`;
};
find("strength").onchange = () => page.setEmotion(ui.pressedIn(find("emotions")) ?? "neutral");
addEventListener("pagehide", () => page.close());

page.start();
