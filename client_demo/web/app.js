// The page: one session with the chosen character, and what the buttons do with it.

import * as api from "./api.js";
import { audioContext, decode, trimmed, Voice } from "./audio_input.js";
import { Session } from "./connection.js";
import { playDialogue, splitTurns } from "./dialogue.js";
import { Microphone } from "./microphone.js";
import { MouthWatch } from "./mouth_watch.js";
import { watchStats } from "./stats.js";
import * as ui from "./ui.js";
import { ownVoice, VOICES } from "./voices.js";

const { find } = ui;
const video = find("video");
const stage = find("stage");

let characters = [];
let samples = null; // what the page can play: see samples.json
let character = null;
let session = null;
let opening = null; // promise of the session's start; rejects where it fails
let speaker = null; // id of the speaker whom buttons and microphone address
let voices = new Map(); // speaker id -> Voice
let speaking = new Set();
let dialogue = null; // AbortController of a dialogue under way
let stopStats = () => {};
const moods = new Map(); // speaker id -> emotion, where one was chosen
const sentAt = new Map(); // speaker id -> when the first speech of the latest utterance was sent
const heard = new Map(); // speaker id -> called at the next "started"

const microphone = new Microphone({ level: (x) => { find("level").value = x; } });
const mouths = new MouthWatch(video, (who, atMs) => {
  if (sentAt.has(who)) ui.read("movement", Math.round(atMs - sentAt.get(who)), " ms");
});

// ------------------------------------------------------------ characters and sessions

async function start() {
  try {
    [characters, samples] = await Promise.all([loadCharacters(), api.getJson("/samples/samples.json")]);
  } catch (error) {
    if (error.status === 401 || error.status === 403) return askForKey(error.message);
    ui.showConnection("lost", "No server");
    return ui.showNotice(error.message, { name: "Try again", run: start });
  }
  if (characters.length === 0) {
    return ui.showNotice("This server has no characters. Add one: avatar characters add");
  }
  ui.hideNotice();
  ui.showGallery(characters, (id) => {
    history.replaceState(null, "", `?character=${encodeURIComponent(id)}`);
    choose(id);
  });
  const wanted = [new URLSearchParams(location.search).get("character"), samples.hello.character];
  choose(wanted.find((id) => characters.some((one) => one.id === id)) ?? characters[0].id);
}

async function loadCharacters() {
  const { characters: list } = await api.getJson("/v1/characters");
  return Promise.all(list.map(async (one) => (
    { ...one, picture: await api.pictureUrl(one.picture_url) })));
}

function askForKey(message) {
  const dialog = find("key-dialog");
  find("key-message").textContent = message;
  dialog.onclose = () => {
    api.useKey(find("key").value);
    start();
  };
  dialog.showModal();
}

function choose(id) {
  character = characters.find((one) => one.id === id);
  speaker = character.speakers[0].id;
  for (const grid of ["singles", "pairs"]) {
    ui.press(find(grid), id);
    ui.reveal(find(grid));
  }
  for (const picture of ["poster", "glow"]) find(picture).src = character.picture;
  stage.style.setProperty("--aspect", "1");
  const isPair = character.speakers.length > 1;
  find("sample").querySelector("span").textContent = isPair ? "Play the dialogue" : "Play a sample";
  find("speakers").hidden = !isPair;
  ui.showChoices(find("speakers"), character.speakers, speaker, address);
  ui.showTags(character.speakers, speaker, address);
  connect();
}

/** Speak through another of the character's speakers from now on. */
function address(id) {
  speaker = id;
  ui.press(find("speakers"), id);
  ui.press(find("tags"), id);
  ui.press(find("emotions"), moods.get(id) ?? "neutral");
  if (microphone.isOn) microphone.target(voices.get(id));
}

/** Open a session with the chosen character; `opening` resolves when its picture plays. */
function connect() {
  leave();
  ui.showConnection("connecting", "Connecting");
  ui.hideNotice();
  opening = open(character.id).catch((error) => {
    lost(error.message);
    throw error;
  });
  opening.catch(() => {}); // shown already
}

async function open(id) {
  const secret = await api.clientSecret();
  if (character.id !== id) return; // another one was chosen meanwhile
  const own = session = new Session({ character: id, rate: audioContext().sampleRate, secret });
  const ifOwn = (run) => ({ detail }) => { if (own === session) run(detail); };
  own.addEventListener("event", ifOwn(onEvent));
  own.addEventListener("media", ifOwn(onMedia));
  await new Promise((done, failed) => {
    own.addEventListener("playing", done);
    own.addEventListener("end", ({ detail }) => (
      own === session ? failed(new Error(detail)) : done()));
  });
  own.addEventListener("end", ifOwn(lost));
}

function leave() {
  const old = session;
  session = null;
  dialogue?.abort();
  stopMicrophone();
  stopStats();
  old?.close();
  stage.dataset.state = "waiting";
  voices = new Map();
  speaking = new Set();
  sentAt.clear();
  moods.clear();
  for (const name of ["movement", "started", "offset", "fps", "bitrate", "buffer"]) ui.read(name);
}

function lost(reason) {
  leave();
  ui.showConnection("lost", "Not connected");
  ui.showNotice(`The session ended: ${reason}.`, { name: "Connect again", run: connect });
}

function onMedia(stream) {
  if (video.srcObject !== stream) video.srcObject = stream;
  video.play().catch(() => { /* starts muted at the latest with the first click */ });
  stopStats();
  stopStats = watchStats(session.peer, ({ fps, kbps, offsetMs }) => {
    ui.read("fps", fps === null ? null : Math.round(fps), " / s");
    ui.read("bitrate", kbps === null ? null : Math.round(kbps), " kbit/s");
    ui.read("offset", offsetMs === null ? null : Math.round(offsetMs), " ms");
  });
}

video.addEventListener("playing", () => {
  stage.style.setProperty("--aspect", `${video.videoWidth} / ${video.videoHeight}`);
  stage.dataset.state = "live";
  ui.showConnection("live", "Live");
  session?.tell("playing");
});

// ------------------------------------------------------------ events of the session

const HANDLERS = {
  "session.created": begin,
  "session.queued": ({ position }) => ui.showConnection("connecting", `Number ${position} in line`),
  "session.degraded": ({ rtf }) => ui.showConnection("connecting", `Server is slow (${rtf.toFixed(1)}×)`),
  "session.recovered": () => ui.showConnection("live", "Live"),
  "session.closed": ({ reason }) => lost(reason),
  "avatar.state": onState,
  "output_audio_buffer.started": onStarted,
  "buffer.status": onBuffer,
  "buffer.high": onBuffer,
  error: ({ error }) => (error.type === "fatal" ? lost(error.message) : ui.showNotice(error.message)),
};

function onEvent(event) {
  ui.logEvent(event);
  HANDLERS[event.type]?.(event);
}

function begin({ speakers, capabilities }) {
  const named = speakers.map((one) => (
    { ...character.speakers.find(({ id }) => id === one.id), ...one }));
  mouths.follow(named);
  voices = new Map(named.map(({ id }, index) => [id, makeVoice(id, index)]));
  const names = new Set(["neutral", ...capabilities.emotions]);
  const choices = [...names].map((name) => ({ id: name, name }));
  ui.showChoices(find("emotions"), choices, "neutral", setEmotion);
  find("mood").hidden = choices.length < 2;
  for (const control of find("text-form").elements) control.disabled = !capabilities.tts;
  find("text").placeholder = capabilities.tts
    ? "Type what to say" : "Install espeak-ng on the server to type text";
}

function makeVoice(id, index) {
  const voice = new Voice(session, id, index);
  voice.onFirst = () => {
    sentAt.set(id, performance.now());
    mouths.expect(id);
  };
  return voice;
}

function onState({ speaker: who, state }) {
  if (state === "speaking") speaking.add(who);
  else speaking.delete(who);
  mouths.setSpeaking(who, state === "speaking");
  ui.showSpeakerState(who, state);
  find("interrupt").disabled = speaking.size === 0;
}

function onBuffer({ speaker: who, queued_ms: queued }) {
  ui.read("buffer", queued, " ms");
  const voice = voices.get(who);
  if (voice) voice.queuedMs = queued;
}

function onStarted({ speaker: who }) {
  if (sentAt.has(who)) ui.read("started", Math.round(performance.now() - sentAt.get(who)), " ms");
  heard.get(who)?.();
}

// ------------------------------------------------------------ what the buttons do

/** Called by every click that gives a voice: the browser allows sound from here on. */
async function greet() {
  stage.classList.add("greeted");
  ui.hideNotice();
  setMuted(false);
  audioContext().resume();
  if (!session) connect();
  await opening;
}

async function attempt(action) {
  try {
    await greet();
    await action();
  } catch (error) {
    ui.showNotice(error.message);
  }
}

async function playSample() {
  if (character.speakers.length === 1) return play(await load(samples.hello.file));
  dialogue?.abort();
  dialogue = new AbortController();
  const tracks = await Promise.all(samples.dialogue.map(load));
  const turns = splitTurns(tracks, session.rate);
  const [...inOrder] = voices.values();
  return playDialogue(turns.map(({ track, samples: words }) => (
    { voice: inOrder[track], samples: words })), {
    signal: dialogue.signal,
    started: (who) => new Promise((done) => { heard.set(who, done); }),
  });
}

async function load(file) { return decode(await api.getBytes(`/samples/${file}`)); }

async function playFile(file) {
  let sound;
  try {
    sound = await decode(await file.arrayBuffer());
  } catch {
    throw new Error(`${file.name} holds no sound that this browser can read. Try WAV, MP3 or Ogg.`);
  }
  return play(sound);
}

function play(sound) { return voices.get(speaker).play(trimmed(sound)); }

function setMuted(muted) {
  video.muted = muted;
  if (!muted) video.play().catch(() => {});
  ui.setIcon(find("mute"), muted ? "muted" : "sound");
  ui.setPressed(find("mute"), muted);
}

function interrupt() {
  dialogue?.abort();
  for (const voice of voices.values()) voice.cut();
  session?.interrupt();
}

function setEmotion(emotion) {
  moods.set(speaker, emotion);
  ui.press(find("emotions"), emotion);
  session?.setEmotion(speaker, emotion, find("strength").valueAsNumber / 100);
}

async function startMicrophone() {
  await microphone.start(voices.get(speaker));
  showMicrophone();
}

function stopMicrophone() {
  if (microphone.isOn) microphone.stop();
  showMicrophone();
}

function showMicrophone() {
  ui.setPressed(find("microphone"), microphone.isOn);
  find("level").hidden = !microphone.isOn;
}

find("hello").onclick = () => attempt(playSample);
find("sample").onclick = () => attempt(playSample);
find("mute").onclick = () => setMuted(!video.muted);
find("interrupt").onclick = interrupt;
document.addEventListener("keydown", ({ key }) => { if (key === "Escape") interrupt(); });
find("microphone").onclick = () => (microphone.isOn ? stopMicrophone() : attempt(startMicrophone));
find("file-button").onclick = () => find("file").click();
find("file").onchange = ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (file) attempt(() => playFile(file));
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
  const [file] = dropped.dataTransfer.files;
  if (file) attempt(() => playFile(file));
});
find("text-form").onsubmit = (submitted) => {
  submitted.preventDefault();
  const text = find("text").value.trim();
  if (!text) return;
  find("text").value = "";
  attempt(async () => play(await decode(await api.synthesize(text, find("voice").value))));
};
find("strength").oninput = ({ target }) => {
  find("strength-value").textContent = `${target.value} %`;
};
find("strength").onchange = () => {
  setEmotion(find("emotions").querySelector("[aria-pressed=true]").dataset.id);
};
find("voice").append(...VOICES.map(({ id, name }) => ui.make("option", { value: id, textContent: name })));
find("voice").value = ownVoice(navigator.language);
addEventListener("pagehide", () => session?.close());

start();
