// Several speakers one after another, from a recording with one track for each of them.

const PAUSE_MS = 180; // heard between two turns
const BLOCK_MS = 20;
const AUDIBLE = 0.01 * 32768;
const MARGIN_BLOCKS = 3; // kept before and after a turn

/**
 * Cut tracks of equal length (PCM16, mono) into turns `[{track, samples}]` in their order: a turn
 * lasts until another track is heard.
 */
export function splitTurns(tracks, rate) {
  const step = Math.round((rate * BLOCK_MS) / 1000);
  const turns = [];
  for (let at = 0; at < tracks[0].length; at += step) {
    const track = tracks.findIndex((one) => (
      one.subarray(at, at + step).some((x) => Math.abs(x) > AUDIBLE)));
    if (track < 0) continue;
    if (turns.at(-1)?.track !== track) turns.push({ track, start: at });
    turns.at(-1).stop = at + step;
  }
  const margin = MARGIN_BLOCKS * step;
  return turns.map(({ track, start, stop }) => (
    { track, samples: tracks[track].subarray(Math.max(0, start - margin), stop + margin) }));
}

/**
 * Play turns `[{voice, samples}]`. All voices take equally long to be heard, so a turn is sent
 * when the one before has been on its way for its own length and a pause. `started(speaker)`
 * resolves when the server says that the speaker is heard; `signal` ends the dialogue.
 */
export async function playDialogue(turns, { started, signal }) {
  const end = new Promise((done) => signal.addEventListener("abort", done, { once: true }));
  for (const { voice, samples } of turns) {
    const sentAt = performance.now();
    const heard = started(voice.speaker);
    const whole = await voice.play(samples);
    await Promise.race([heard, end]);
    if (signal.aborted || !whole) return;
    const lengthMs = (samples.length / voice.session.rate) * 1000;
    const waitMs = sentAt + lengthMs + PAUSE_MS - performance.now();
    await Promise.race([new Promise((done) => setTimeout(done, Math.max(0, waitMs))), end]);
  }
}
