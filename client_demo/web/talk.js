// @ts-check
// The state of one session on the page.

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./speaker_input.js").SpeakerInput} SpeakerInput */

/** Belongs to one session and ends with it. Only `Page` writes it. */
export class Talk {
  constructor() {
    /** @type {Session | null} */
    this.session = null;
    /** @type {Map<string, SpeakerInput>} by speaker, in the session's order */
    this.inputs = new Map();
    /** @type {Set<string>} */
    this.speaking = new Set();
    /** @type {Map<string, string>} emotion by speaker, where one was chosen */
    this.emotions = new Map();
    /** @type {Map<string, number>} by speaker: when the latest utterance's first speech was sent */
    this.sentAt = new Map();
    /** @type {Map<string, () => void>} by speaker, called at the next "started" */
    this.onStarted = new Map();
    /** @type {AbortController | null} */
    this.dialogue = null;
    this.stopStats = () => {};
  }

  close() {
    this.dialogue?.abort();
    this.stopStats();
    this.session?.close();
  }
}
