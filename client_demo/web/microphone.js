// The microphone as a voice: sends while somebody speaks, commits at the end of each utterance.

import { audioContext } from "./audio_input.js";
import { toPcm16 } from "./wire.js";

const HANG_MS = 700; // quiet that ends an utterance
const BEFORE_MS = 200; // kept from before the voice was noticed
const ABOVE_NOISE = 3; // loudness over the room's noise that counts as voice
const QUIETEST = 0.006; // of full scale; below is never voice

/** Decides from the loudness of blocks when somebody speaks. Pure: `nowMs` is given. */
export class VoiceGate {
  constructor() {
    this.noise = QUIETEST;
    this.openUntil = -Infinity;
  }

  /** @returns {boolean} whether the block of this loudness (RMS) belongs to an utterance */
  hear(loudness, nowMs) {
    const isVoice = loudness > Math.max(QUIETEST, this.noise * ABOVE_NOISE);
    if (isVoice) this.openUntil = nowMs + HANG_MS;
    else this.noise += (loudness - this.noise) * 0.02;
    return nowMs < this.openUntil;
  }
}

const REFUSALS = {
  NotAllowedError: "The browser keeps the microphone from this page. Allow it in the address bar.",
  NotFoundError: "There is no microphone. Connect one, or upload a sound file.",
};

async function openMicrophone() {
  if (!navigator.mediaDevices) {
    throw new Error("The browser gives the microphone only to pages on HTTPS or on localhost.");
  }
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw new Error(REFUSALS[error.name] ?? `The microphone does not work: ${error.message}.`);
  }
}

export class Microphone {
  /** @param {{level: (x: number) => void}} shown called with the loudness, 0 to 1 */
  constructor({ level }) {
    this.level = level;
    this.voice = null;
    this.stream = null;
    this.nodes = [];
  }

  get isOn() { return this.stream !== null; }

  /** Rejects, saying why, when the user refuses or there is no microphone. */
  async start(voice) {
    const context = audioContext();
    await context.resume();
    this.stream = await openMicrophone();
    await context.audioWorklet.addModule("microphone_worklet.js");
    const source = context.createMediaStreamSource(this.stream);
    const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    capture.port.onmessage = ({ data }) => this.hear(data);
    source.connect(capture);
    this.nodes = [source, capture];
    this.gate = new VoiceGate();
    this.before = [];
    this.speaking = false;
    this.target(voice);
  }

  /** Speak through another voice from now on. */
  target(voice) {
    this.finish();
    this.voice = voice;
  }

  stop() {
    this.finish();
    for (const node of this.nodes) node.disconnect();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.nodes = [];
    this.stream = null;
    this.level(0);
  }

  hear(block) {
    const loudness = Math.sqrt(block.reduce((sum, x) => sum + x * x, 0) / block.length);
    this.level(Math.min(1, loudness * 6));
    const isVoice = this.gate.hear(loudness, performance.now());
    if (isVoice) this.send(block);
    else {
      this.finish();
      const blocks = Math.ceil((BEFORE_MS / 1000) * (audioContext().sampleRate / block.length));
      this.before = [...this.before, block].slice(-blocks);
    }
  }

  send(block) {
    if (!this.speaking) {
      this.speaking = true;
      this.voice.onFirst();
      for (const earlier of this.before) this.voice.send(toPcm16(earlier));
      this.before = [];
    }
    this.voice.send(toPcm16(block));
  }

  finish() {
    if (this.speaking) this.voice.session.commit(this.voice.speaker);
    this.speaking = false;
  }
}
