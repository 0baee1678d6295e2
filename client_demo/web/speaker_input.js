// @ts-check
// Speech on its way to the server: files and samples become PCM16, sent a little ahead of real time.

import { toPcm16 } from "./wire.js";

/** @typedef {import("./session.js").Session} Session */

const CHUNK_MS = 100;
const MAX_QUEUED_MS = 20000; // held by a slow server: send no more before it has played some
const LEAD_MS = 2000; // sent ahead of playing: enough for the slow timers of hidden tabs
const AUDIBLE = 0.01 * 32768;
const KEEP_BEFORE_MS = 40; // of silence kept before the first sound
const MAX_RATE = 48000; // the highest rate that the server accepts

/** @type {AudioContext | null} */
let context = null;

/** The page's AudioContext. All speech is sent at its rate. */
export function audioContext() {
  if (context) return context;
  context = new AudioContext({ latencyHint: "interactive" });
  if (context.sampleRate > MAX_RATE) {
    context.close();
    context = new AudioContext({ latencyHint: "interactive", sampleRate: MAX_RATE });
  }
  return context;
}

/**
 * Any sound that the browser can decode, as mono PCM16 at the page's rate.
 * @param {ArrayBuffer} bytes
 */
export async function decode(bytes) {
  const sound = await audioContext().decodeAudioData(bytes);
  const mono = new Float32Array(sound.length);
  for (let c = 0; c < sound.numberOfChannels; c++) {
    const channel = sound.getChannelData(c);
    for (let i = 0; i < mono.length; i++) mono[i] += channel[i] / sound.numberOfChannels;
  }
  return toPcm16(mono);
}

/**
 * The samples without the silence before their first sound.
 * @param {Int16Array} samples
 */
export function withoutLeadingSilence(samples) {
  const onset = samples.findIndex((x) => Math.abs(x) > AUDIBLE);
  if (onset < 0) throw new Error(whyInaudible(samples));
  const keep = Math.round((KEEP_BEFORE_MS / 1000) * audioContext().sampleRate);
  return samples.subarray(Math.max(0, onset - keep));
}

/** @param {Int16Array} samples none of which is audible */
function whyInaudible(samples) {
  const peak = samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  if (peak === 0) return "This file is silent. Choose one with sound in it.";
  const decibels = Math.round(20 * Math.log10(peak / 32768));
  return `This file is too quiet: its loudest sound is at ${decibels} dB, and -40 dB is needed. `
    + "Raise its volume, or choose another one.";
}

/** Sends the speech of one speaker. A second `play` waits until the first has been sent. */
export class SpeakerInput {
  /**
   * @param {Session} session
   * @param {string} speaker
   * @param {number} index place in the session's list of speakers
   */
  constructor(session, speaker, index) {
    this.session = session;
    this.speaker = speaker;
    this.index = index;
    this.interruptions = 0;
    this.queuedMs = 0; // held by the server, as it last reported
    this.sentUntil = 0; // performance.now() at which everything sent will have been played
    /** @type {Promise<unknown>} */
    this.last = Promise.resolve();
    this.onUtterance = () => {}; // called when the first samples of an utterance are sent
  }

  /**
   * Send `samples` and commit. Resolves to false if `interrupt` ended it.
   * @param {Int16Array} samples
   */
  play(samples) {
    const { interruptions } = this;
    const sending = this.last.then(() => this.stream(samples, interruptions));
    this.last = sending.catch(() => {});
    return sending;
  }

  /**
   * @param {Int16Array} samples
   * @param {number} interruptions counted when `play` was called
   */
  async stream(samples, interruptions) {
    const step = Math.round((this.session.rate * CHUNK_MS) / 1000);
    for (let at = 0; at < samples.length; at += step) {
      await this.waitForRoom(interruptions);
      if (this.interruptions !== interruptions || this.session.closed) return false;
      if (at === 0) this.onUtterance();
      this.send(samples.subarray(at, at + step));
    }
    this.session.commit(this.speaker);
    return true;
  }

  /**
   * Send at once, as a microphone does.
   * @param {Int16Array} samples
   */
  send(samples) {
    this.sentUntil = Math.max(this.sentUntil, performance.now());
    this.sentUntil += (samples.length / this.session.rate) * 1000;
    this.session.speak(samples, this.index);
  }

  interrupt() {
    this.interruptions++;
    this.queuedMs = 0;
    this.sentUntil = 0;
  }

  /** @param {number} interruptions */
  async waitForRoom(interruptions) {
    const isFull = () => (
      this.queuedMs > MAX_QUEUED_MS || this.sentUntil - performance.now() > LEAD_MS);
    while (this.interruptions === interruptions && !this.session.closed && isFull()) {
      await new Promise((done) => setTimeout(done, CHUNK_MS));
    }
  }
}
