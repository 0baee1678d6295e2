// Speech on its way in: files and samples decoded to PCM16, sent a little ahead of real time.

import { toPcm16 } from "./wire.js";

const CHUNK_MS = 100;
const MAX_QUEUED_MS = 20000; // held by the server, by its word: one that is slow gets no more
const LEAD_MS = 2000; // sent ahead of playing: enough for slow timers of hidden tabs
const AUDIBLE = 0.01 * 32768;
const KEEP_BEFORE_MS = 40; // of the quiet before the first sound
const MAX_RATE = 48000; // the most that the server takes

let context = null;

/** The page's AudioContext. Its rate is the rate of all speech that this page sends. */
export function audioContext() {
  if (context) return context;
  context = new AudioContext({ latencyHint: "interactive" });
  if (context.sampleRate > MAX_RATE) {
    context.close();
    context = new AudioContext({ latencyHint: "interactive", sampleRate: MAX_RATE });
  }
  return context;
}

/** Any sound the browser can decode, as mono PCM16 at the page's rate. */
export async function decode(bytes) {
  const sound = await audioContext().decodeAudioData(bytes);
  const mono = new Float32Array(sound.length);
  for (let c = 0; c < sound.numberOfChannels; c++) {
    const channel = sound.getChannelData(c);
    for (let i = 0; i < mono.length; i++) mono[i] += channel[i] / sound.numberOfChannels;
  }
  return toPcm16(mono);
}

/** The samples without the silence before their first sound. */
export function trimmed(samples) {
  const onset = samples.findIndex((x) => Math.abs(x) > AUDIBLE);
  if (onset < 0) throw new Error("There is no sound in it.");
  const keep = Math.round((KEEP_BEFORE_MS / 1000) * audioContext().sampleRate);
  return samples.subarray(Math.max(0, onset - keep));
}

/** One speaker's way into a session. Playing anew follows what is still being sent. */
export class Voice {
  constructor(session, speaker, index) {
    this.session = session;
    this.speaker = speaker;
    this.index = index;
    this.cuts = 0;
    this.queuedMs = 0; // what waits on the server, by its latest word
    this.sentUntil = 0; // performance.now() at which all that was sent will have been played
    this.last = Promise.resolve();
    this.onFirst = () => {}; // called when the first samples of an utterance are sent
  }

  /** Send `samples` and commit; resolves to false where `cut` ended it. */
  play(samples) {
    const cuts = this.cuts;
    const sending = this.last.then(() => this.stream(samples, cuts));
    this.last = sending.catch(() => {});
    return sending;
  }

  async stream(samples, cuts) {
    const { rate } = this.session;
    const step = Math.round((rate * CHUNK_MS) / 1000);
    for (let at = 0; at < samples.length; at += step) {
      await this.room(cuts);
      if (this.cuts !== cuts || this.session.closed) return false;
      if (at === 0) this.onFirst();
      this.send(samples.subarray(at, at + step));
    }
    this.session.commit(this.speaker);
    return true;
  }

  /** Send at once, as a microphone does. */
  send(samples) {
    this.sentUntil = Math.max(this.sentUntil, performance.now());
    this.sentUntil += (samples.length / this.session.rate) * 1000;
    this.session.speak(samples, this.index);
  }

  cut() {
    this.cuts++;
    this.queuedMs = 0;
    this.sentUntil = 0;
  }

  async room(cuts) {
    const isFull = () => (
      this.queuedMs > MAX_QUEUED_MS || this.sentUntil - performance.now() > LEAD_MS);
    while (this.cuts === cuts && !this.session.closed && isFull()) {
      await new Promise((done) => setTimeout(done, CHUNK_MS));
    }
  }
}
