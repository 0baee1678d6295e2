// @ts-check
// What the page does: one session with the chosen character, and an action for each control.
// `Page` owns all state of the page: only its methods write it.

import * as api from "./api.js";
import { playDialogue, splitTurns } from "./dialogue.js";
import { Microphone } from "./microphone.js";
import { MouthWatch } from "./mouth_watch.js";
import { Session } from "./session.js";
import { audioContext, decode, SpeakerInput, withoutLeadingSilence } from "./speaker_input.js";
import { watchStats } from "./stats.js";
import { Talk } from "./talk.js";
import * as ui from "./ui.js";

/** @typedef {import("./api.js").Character} Character */
/** @typedef {import("./session.js").Granted} Granted */

const QUIET_MS = 1500; // without speech before the page offers "Say hello" again

const { find } = ui;
const video = find("video");
const stage = find("stage");

export class Page {
  constructor() {
    /** @type {Character[]} */
    this.characters = [];
    /** @type {api.Samples} */
    this.samples = { hello: { file: "", character: "" }, dialogue: [] };
    /** @type {Character | null} */
    this.character = null;
    this.speaker = ""; // id of the speaker whom buttons and microphone address
    this.talk = new Talk();
    /** @type {Promise<void> | null} resolves when the session's video plays; rejects if it fails */
    this.opening = null;
    this.actions = 0; // running actions of buttons
    this.quietTimer = 0;
    this.microphone = new Microphone((loudness) => { find("level").value = loudness; });
    this.mouths = new MouthWatch(video, (speaker, atMs) => {
      const sentAt = this.talk.sentAt.get(speaker);
      if (sentAt !== undefined) ui.showReading("movement", Math.round(atMs - sentAt), " ms");
    });
  }

  // ---- characters and sessions

  start = async () => {
    try {
      [this.characters, this.samples] = await Promise.all([
        loadCharacters(), api.getJson("/samples/samples.json")]);
    } catch (reason) {
      const error = /** @type {api.ApiError} */ (reason);
      if (error.status === 401) return this.askForKey(error.message);
      ui.showConnection("lost", error.status ? "Refused" : "No server");
      return ui.showNotice(error.message, { name: "Try again", run: this.start });
    }
    if (this.characters.length === 0) {
      return ui.showNotice("This server has no characters. Add one: avatar characters add");
    }
    ui.hideNotice();
    ui.showGallery(this.characters, (id) => {
      history.replaceState(null, "", `?character=${encodeURIComponent(id)}`);
      this.choose(id);
    });
    this.chooseFirst(new URLSearchParams(location.search).get("character"));
  };

  /** @param {string} message */
  askForKey(message) {
    const dialog = find("key-dialog");
    find("key-message").textContent = message;
    dialog.onclose = () => {
      api.useKey(find("key").value);
      this.start();
    };
    dialog.showModal();
  }

  /** @param {string | null} wanted id of a character, from the address */
  chooseFirst(wanted) {
    const known = (/** @type {string | null} */ id) => this.characters.find((one) => one.id === id);
    const first = known(wanted) ?? known(this.samples.hello.character) ?? this.characters[0];
    this.choose(first.id);
    if (wanted && !known(wanted)) {
      ui.showNotice(`There is no character “${wanted}”. Here is ${first.name}; choose another below.`);
    }
  }

  /** @param {string} id */
  choose(id) {
    const character = this.characters.find((one) => one.id === id) ?? this.characters[0];
    const { speakers } = character;
    this.character = character;
    this.speaker = speakers[0].id;
    for (const grid of [find("singles"), find("pairs")]) {
      ui.press(grid, id);
      ui.reveal(grid);
    }
    for (const picture of [find("poster"), find("glow")]) picture.src = character.picture;
    stage.style.setProperty("--aspect", "1");
    const isPair = speakers.length > 1;
    const label = isPair ? "Play the dialogue" : "Play a sample";
    find("sample").querySelector("span")?.replaceChildren(label);
    find("speakers").hidden = !isPair;
    ui.showChoices(find("speakers"), speakers, this.speaker, this.address);
    ui.showTags(speakers, this.speaker, this.address);
    this.connect();
  }

  /** Use another of the character's speakers from now on. */
  address = (/** @type {string} */ id) => {
    this.speaker = id;
    ui.press(find("speakers"), id);
    ui.press(find("tags"), id);
    ui.press(find("emotions"), this.talk.emotions.get(id) ?? "neutral");
    const input = this.talk.inputs.get(id);
    if (this.microphone.isOn && input) this.microphone.useInput(input);
  };

  /** Open a session with the chosen character; `opening` resolves when its video plays. */
  connect = () => {
    this.leave();
    const { talk, character } = this;
    if (!character) return;
    ui.showConnection("connecting", "Connecting");
    ui.hideNotice();
    this.opening = this.open(talk, character.id).catch((error) => {
      if (talk === this.talk) this.lost(error.message);
      throw error;
    });
    this.opening.catch(() => {}); // shown already
  };

  /**
   * @param {Talk} talk
   * @param {string} id
   */
  async open(talk, id) {
    const secret = await api.clientSecret();
    if (talk !== this.talk) return; // another one was chosen meanwhile
    const session = talk.session = new Session(
      { character: id, rate: audioContext().sampleRate, secret });
    const ifCurrent = (/** @type {(detail: any) => void} */ run) => (
      (/** @type {any} */ detail) => { if (talk === this.talk) run(detail); });
    session.on("event", ifCurrent(this.onEvent));
    session.on("media", ifCurrent(this.onMedia));
    await new Promise((/** @type {(value?: any) => void} */ done, failed) => {
      session.on("playing", done);
      session.on("end", (reason) => (talk === this.talk ? failed(new Error(reason)) : done()));
    });
    session.on("end", ifCurrent(this.lost));
  }

  leave() {
    const old = this.talk;
    this.talk = new Talk();
    this.opening = null;
    this.stopMicrophone();
    old.close();
    stage.dataset.state = "waiting";
    for (const name of ["movement", "started", "offset", "fps", "bitrate", "buffer"]) {
      ui.showReading(name);
    }
    this.showActivity();
  }

  lost = (/** @type {string} */ reason) => {
    const what = this.talk.session?.granted ? "ended" : "did not begin";
    this.leave();
    ui.showConnection("lost", "Not connected");
    ui.showNotice(`The session ${what}: ${reason.replace(/[.\s]+$/, "")}.`,
      { name: "Connect again", run: this.connect });
  };

  onMedia = (/** @type {MediaStream} */ stream) => {
    const { talk } = this;
    if (video.srcObject !== stream) video.srcObject = stream;
    video.play().catch(() => { /* muted video may play; sound starts with the first click */ });
    talk.stopStats();
    if (!talk.session?.peer) return;
    talk.stopStats = watchStats(talk.session.peer, ({ fps, kbps, offsetMs }) => {
      ui.showReading("fps", fps === null ? null : Math.round(fps), " / s");
      ui.showReading("bitrate", kbps === null ? null : Math.round(kbps), " kbit/s");
      ui.showReading("offset", offsetMs === null ? null : Math.round(offsetMs), " ms");
    });
  };

  onPlaying = () => {
    stage.style.setProperty("--aspect", `${video.videoWidth} / ${video.videoHeight}`);
    stage.dataset.state = "live";
    ui.showConnection("live", "Live");
    this.talk.session?.emit("playing");
  };

  // ---- events of the session

  onEvent = (/** @type {import("./session.js").ServerEvent} */ event) => {
    ui.logEvent(event);
    this.handlers[event.type]?.(event);
  };

  /** @type {Record<string, (event: any) => void>} */
  handlers = {
    "session.created": (granted) => this.onCreated(granted),
    "session.queued": ({ position }) => (
      ui.showConnection("connecting", `Number ${position} in line`)),
    "session.degraded": ({ cause, rtf }) => (
      ui.showConnection("connecting", cause === "network"
        ? "Weak network" : `Server is slow (${rtf.toFixed(1)}×)`)),
    "session.recovered": () => ui.showConnection("live", "Live"),
    "session.closed": ({ reason }) => this.lost(reason),
    "avatar.state": (event) => this.onState(event),
    "output_audio_buffer.started": ({ speaker }) => this.onStarted(speaker),
    "buffer.status": (event) => this.onBuffer(event),
    "buffer.high": (event) => this.onBuffer(event),
    error: ({ error }) => (
      error.type === "fatal" ? this.lost(error.message) : ui.showNotice(error.message)),
  };

  /** @param {Granted} granted */
  onCreated({ speakers, capabilities }) {
    this.mouths.follow(speakers);
    this.talk.inputs = new Map(speakers.map(({ id }, index) => [id, this.makeInput(id, index)]));
    const names = new Set(["neutral", ...capabilities.emotions]);
    const choices = [...names].map((name) => ({ id: name, name }));
    ui.showChoices(find("emotions"), choices, "neutral", this.setEmotion);
    find("emotion").hidden = choices.length < 2;
    for (const control of find("text-form").elements) {
      /** @type {HTMLInputElement} */ (control).disabled = !capabilities.tts;
    }
    find("text").placeholder = capabilities.tts
      ? "Type what to say" : "Install espeak-ng on the server to type text";
  }

  /**
   * @param {string} speaker
   * @param {number} index
   */
  makeInput(speaker, index) {
    const { talk } = this;
    const input = new SpeakerInput(/** @type {Session} */ (talk.session), speaker, index);
    input.onUtterance = () => {
      talk.sentAt.set(speaker, performance.now());
      this.mouths.expect(speaker);
    };
    return input;
  }

  /** @param {{speaker: string, state: string}} event */
  onState({ speaker, state }) {
    const { speaking } = this.talk;
    if (state === "speaking") speaking.add(speaker);
    else speaking.delete(speaker);
    this.mouths.setSpeaking(speaker, state === "speaking");
    ui.showSpeakerState(speaker, state);
    find("interrupt").disabled = speaking.size === 0;
    this.showActivity();
  }

  /** @param {{speaker: string, queued_ms: number}} event */
  onBuffer({ speaker, queued_ms: queuedMs }) {
    ui.showReading("buffer", queuedMs, " ms");
    const input = this.talk.inputs.get(speaker);
    if (input) input.queuedMs = queuedMs;
  }

  /** @param {string} speaker */
  onStarted(speaker) {
    const sentAt = this.talk.sentAt.get(speaker);
    if (sentAt !== undefined) {
      ui.showReading("started", Math.round(performance.now() - sentAt), " ms");
    }
    this.talk.onStarted.get(speaker)?.();
  }

  // ---- actions of the controls

  /** Run an action that needs a session and sound. Browsers allow sound after a click. */
  attempt = async (/** @type {() => Promise<unknown>} */ action) => {
    this.actions++;
    stage.classList.add("greeted");
    this.showActivity();
    try {
      ui.hideNotice();
      this.setMuted(false);
      audioContext().resume();
      if (!this.opening) this.connect();
      await this.opening;
      await action();
    } catch (reason) {
      ui.showNotice(/** @type {Error} */ (reason).message);
    } finally {
      this.actions--;
      this.showActivity();
    }
  };

  /** Hide "Say hello" while somebody speaks or is about to; offer it again after that. */
  showActivity() {
    clearTimeout(this.quietTimer);
    const isActive = this.actions > 0 || this.talk.speaking.size > 0 || this.microphone.isOn;
    if (isActive) stage.classList.add("busy");
    else this.quietTimer = setTimeout(() => stage.classList.remove("busy"), QUIET_MS);
  }

  playSample = async () => {
    if (this.character?.speakers.length === 1) return this.play(await load(this.samples.hello.file));
    const { talk } = this;
    talk.dialogue?.abort();
    const { signal } = talk.dialogue = new AbortController();
    const tracks = await Promise.all(this.samples.dialogue.map(load));
    const inputs = [...talk.inputs.values()];
    const turns = splitTurns(tracks, audioContext().sampleRate)
      .map(({ track, samples }) => ({ input: inputs[track], samples }));
    const started = (/** @type {string} */ speaker) => (
      new Promise((/** @type {(value: void) => void} */ done) => {
        talk.onStarted.set(speaker, done);
      }));
    return playDialogue(turns, { signal, started });
  };

  playFile = async (/** @type {File} */ file) => {
    let sound;
    try {
      sound = await decode(await file.arrayBuffer());
    } catch {
      throw new Error(`${file.name} holds no sound that this browser can read. Try WAV, MP3 or Ogg.`);
    }
    return this.play(sound);
  };

  /**
   * @param {string} text
   * @param {string} voice
   */
  async playText(text, voice) { return this.play(await decode(await api.synthesize(text, voice))); }

  /** @param {Int16Array} sound */
  async play(sound) { return this.currentInput().play(withoutLeadingSilence(sound)); }

  currentInput() {
    const input = this.talk.inputs.get(this.speaker);
    if (!input) throw new Error("There is no session yet. Choose a character and try again.");
    return input;
  }

  /** @param {boolean} muted */
  setMuted(muted) {
    video.muted = muted;
    if (!muted) video.play().catch(() => {});
    ui.setIcon(find("mute"), muted ? "muted" : "sound");
    ui.setPressed(find("mute"), muted);
  }

  interrupt = () => {
    this.talk.dialogue?.abort();
    for (const input of this.talk.inputs.values()) input.interrupt();
    this.talk.session?.interrupt();
  };

  setEmotion = (/** @type {string} */ emotion) => {
    this.talk.emotions.set(this.speaker, emotion);
    ui.press(find("emotions"), emotion);
    this.talk.session?.setEmotion(this.speaker, emotion, find("strength").valueAsNumber / 100);
  };

  startMicrophone = async () => {
    await this.microphone.start(this.currentInput());
    this.showMicrophone();
  };

  stopMicrophone = () => {
    if (this.microphone.isOn) this.microphone.stop();
    this.showMicrophone();
  };

  showMicrophone() {
    ui.setPressed(find("microphone"), this.microphone.isOn);
    find("level").hidden = !this.microphone.isOn;
    this.showActivity();
  }

  close() { this.talk.session?.close(); }
}

/** @returns {Promise<Character[]>} */
async function loadCharacters() {
  const { characters } = await api.getJson("/v1/characters");
  return Promise.all(characters.map(async (/** @type {any} */ one) => (
    { ...one, picture: await api.pictureUrl(one.picture_url) })));
}

/** @param {string} file name of a sample */
async function load(file) { return decode(await api.getBytes(`/samples/${file}`)); }
