// @ts-check
// The server's HTTP routes. Sends the API key if the server asks for one.

/** @typedef {{x: number, y: number, width: number, height: number}} Box fractions of the frame */
/** @typedef {{id: string, name: string, box: Box}} Speaker */
/** @typedef {{id: string, name: string, speakers: Speaker[], picture: string}} Character */
/** @typedef {{hello: {file: string, character: string}, dialogue: string[]}} Samples */

/** @type {string | null} */
let apiKey = null;

export class ApiError extends Error {
  /**
   * @param {number} status HTTP status, 0 if nothing answers
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** @param {string} key sent with every request from now on */
export function useKey(key) { apiKey = key; }

/**
 * @param {string} path
 * @param {RequestInit & {headers?: Record<string, string>}} options
 */
async function call(path, options = {}) {
  /** @type {Record<string, string>} */
  const headers = { ...options.headers };
  if (apiKey) headers.Authorization = `Bearer ${apiKey}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new ApiError(0, "The server does not answer.");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new ApiError(response.status, body?.error?.message ?? `HTTP ${response.status}`);
}

/** @param {string} path */
export async function getJson(path) { return (await call(path)).json(); }

/** @param {string} path */
export async function getBytes(path) { return (await call(path)).arrayBuffer(); }

/**
 * Address of a picture for <img>. With a key the picture is fetched and becomes a blob address.
 * @param {string} path
 */
export async function pictureUrl(path) {
  if (!apiKey) return path;
  return URL.createObjectURL(await (await call(path)).blob());
}

/**
 * A short-lived secret for one WebSocket, so that the key itself is never sent there.
 * @returns {Promise<string | undefined>}
 */
export async function clientSecret() {
  if (!apiKey) return undefined;
  const made = await (await call("/v1/realtime/sessions", { method: "POST" })).json();
  return made.client_secret.value;
}

/**
 * Speech for `text` as the bytes of a WAV file.
 * @param {string} text
 * @param {string} voice
 */
export async function synthesize(text, voice) {
  const response = await call("/v1/speech", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text, voice }),
  });
  return response.arrayBuffer();
}
