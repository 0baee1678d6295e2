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
export function useKey(key) { apiKey = key.trim(); }

/**
 * A path of the server, such as "/v1/characters", as an address beside the page: the server may be
 * behind a proxy that serves it under a sub-path.
 * @param {string} path
 */
export function address(path) { return new URL(path.replace(/^\/+/, ""), document.baseURI); }

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
    response = await fetch(address(path), { ...options, headers });
  } catch {
    throw new ApiError(0, "The server does not answer. Is it running, and is the network up?");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new ApiError(response.status, body?.error?.message ?? strangersAnswer(response.status));
}

/** @param {number} status of an answer that is not in the server's form */
function strangersAnswer(status) {
  return status >= 500
    ? `A proxy answers, but not the server behind it (HTTP ${status}). Is it running?`
    : `Something else than the avatar server answers (HTTP ${status}).`;
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
  if (!apiKey) return address(path).href;
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
 * Why a WebSocket did not open: browsers do not tell, so a plain request to the same path asks.
 * @param {string} [session] id of the session that it would have resumed
 * @returns {Promise<ApiError>} status 0 if nothing answers, 200 if the request is let in
 */
export async function refusalOfSocket(session) {
  const query = session ? `?session=${encodeURIComponent(session)}` : "";
  try {
    await call(`/v1/realtime${query}`, { method: "POST" });
  } catch (reason) {
    return /** @type {ApiError} */ (reason);
  }
  return new ApiError(200, "The server answers, but its WebSocket does not come through. A proxy "
    + "between must pass the headers Upgrade and Connection on.");
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
