// Several speakers one after another: each turn is sent so that it follows the one before closely.

const PAUSE_MS = 180; // heard between two turns

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
