// @ts-check
// The microphone as input: sends while the user speaks, commits at the end of each utterance.

import { audioContext } from "./speaker_input.js";
import { toPcm16 } from "./wire.js";

/** @typedef {import("./speaker_input.js").SpeakerInput} SpeakerInput */

const HANG_MS = 700; // of quiet end an utterance
const BEFORE_MS = 200; // kept from before the speech was detected
const ABOVE_NOISE = 3; // times the room's noise: louder counts as speech
const MIN_LOUDNESS = 0.006; // of full scale; quieter is never speech

/** Detects speech from the loudness of blocks. Pure: `nowMs` is an argument. */
export class VoiceGate {
  constructor() {
    this.noise = MIN_LOUDNESS;
    this.openUntil = -Infinity;
  }

  /**
   * @param {number} loudness root mean square of the block
   * @param {number} nowMs
   * @returns {boolean} whether the block belongs to an utterance
   */
  update(loudness, nowMs) {
    const isSpeech = loudness > Math.max(MIN_LOUDNESS, this.noise * ABOVE_NOISE);
    if (isSpeech) this.openUntil = nowMs + HANG_MS;
    else this.noise += (loudness - this.noise) * 0.02;
    return nowMs < this.openUntil;
  }
}

/** @type {Record<string, string>} */
const REFUSALS = {
  NotAllowedError: "The browser blocks the microphone for this page. Allow it in the address bar.",
  NotFoundError: "There is no microphone. Connect one, or upload a sound file.",
};

async function openMicrophone() {
  if (!navigator.mediaDevices) {
    throw new Error("Browsers allow the microphone only for pages on HTTPS or on localhost.");
  }
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (reason) {
    const error = /** @type {Error} */ (reason);
    throw new Error(REFUSALS[error.name] ?? `The microphone does not work: ${error.message}.`);
  }
}

export class Microphone {
  /** @param {(loudness: number) => void} onLevel called with the loudness, 0 to 1 */
  constructor(onLevel) {
    this.onLevel = onLevel;
    /** @type {SpeakerInput | null} */
    this.input = null;
    /** @type {MediaStream | null} */
    this.stream = null;
    /** @type {AudioNode[]} */
    this.nodes = [];
    this.gate = new VoiceGate();
    /** @type {Float32Array[]} the latest quiet blocks */
    this.before = [];
    this.speaking = false;
  }

  get isOn() { return this.stream !== null; }

  /**
   * Rejects with the reason if the user refuses or there is no microphone.
   * @param {SpeakerInput} input
   */
  async start(input) {
    const context = audioContext();
    await context.resume();
    this.stream = await openMicrophone();
    await context.audioWorklet.addModule("microphone_worklet.js");
    const source = context.createMediaStreamSource(this.stream);
    const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    capture.port.onmessage = ({ data }) => this.onBlock(data);
    source.connect(capture);
    this.nodes = [source, capture];
    this.gate = new VoiceGate();
    this.before = [];
    this.speaking = false;
    this.useInput(input);
  }

  /**
   * Speak as another speaker from now on.
   * @param {SpeakerInput} input
   */
  useInput(input) {
    this.endUtterance();
    this.input = input;
  }

  stop() {
    this.endUtterance();
    for (const node of this.nodes) node.disconnect();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.nodes = [];
    this.stream = null;
    this.onLevel(0);
  }

  /** @param {Float32Array} block 20 ms */
  onBlock(block) {
    const loudness = Math.sqrt(block.reduce((sum, x) => sum + x * x, 0) / block.length);
    this.onLevel(Math.min(1, loudness * 6));
    if (this.gate.update(loudness, performance.now())) return this.send(block);
    this.endUtterance();
    const blocks = Math.ceil((BEFORE_MS / 1000) * (audioContext().sampleRate / block.length));
    this.before = [...this.before, block].slice(-blocks);
  }

  /** @param {Float32Array} block */
  send(block) {
    if (!this.input) return;
    if (!this.speaking) {
      this.speaking = true;
      this.input.onUtterance();
      for (const earlier of this.before) this.input.send(toPcm16(earlier));
      this.before = [];
    }
    this.input.send(toPcm16(block));
  }

  endUtterance() {
    if (this.speaking && this.input) this.input.session.commit(this.input.speaker);
    this.speaking = false;
  }
}
