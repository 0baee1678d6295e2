// @ts-check
// Several speakers one after another, from recordings with one track for each of them.

/** @typedef {import("./speaker_input.js").SpeakerInput} SpeakerInput */

const PAUSE_MS = 180; // between two turns
const BLOCK_MS = 20;
const AUDIBLE = 0.01 * 32768;
const MARGIN_BLOCKS = 3; // kept before and after a turn

/**
 * Cut tracks of equal length (PCM16, mono) into turns, in their order. A turn lasts until another
 * track has sound.
 * @param {Int16Array[]} tracks
 * @param {number} rate Hz
 * @returns {{track: number, samples: Int16Array}[]}
 */
export function splitTurns(tracks, rate) {
  const step = Math.round((rate * BLOCK_MS) / 1000);
  /** @type {{track: number, start: number, stop: number}[]} */
  const turns = [];
  for (let at = 0; at < tracks[0].length; at += step) {
    const track = tracks.findIndex((one) => (
      one.subarray(at, at + step).some((x) => Math.abs(x) > AUDIBLE)));
    if (track < 0) continue;
    const latest = turns[turns.length - 1];
    if (latest?.track === track) latest.stop = at + step;
    else turns.push({ track, start: at, stop: at + step });
  }
  const margin = MARGIN_BLOCKS * step;
  return turns.map(({ track, start, stop }) => (
    { track, samples: tracks[track].subarray(Math.max(0, start - margin), stop + margin) }));
}

/**
 * Play turns one after another. The delay from sending to playing is the same for all speakers, so
 * a turn is sent when the length of the one before, and a pause, have passed since it was sent.
 * @param {{input: SpeakerInput, samples: Int16Array}[]} turns
 * @param {{started: (speaker: string) => Promise<void>, signal: AbortSignal}} options `started`
 *   resolves when the server reports that the speaker plays; `signal` ends the dialogue
 */
export async function playDialogue(turns, { started, signal }) {
  const end = new Promise((done) => signal.addEventListener("abort", done, { once: true }));
  for (const { input, samples } of turns) {
    if (signal.aborted) return;
    const sentAt = performance.now();
    const playing = started(input.speaker);
    const isComplete = await input.play(samples);
    await Promise.race([playing, end]);
    if (signal.aborted || !isComplete) return;
    const lengthMs = (samples.length / input.session.rate) * 1000;
    const waitMs = sentAt + lengthMs + PAUSE_MS - performance.now();
    await Promise.race([new Promise((done) => setTimeout(done, Math.max(0, waitMs))), end]);
  }
}
