// The server's HTTP routes, with an API key where the server asks for one.

let apiKey = null;

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function useKey(key) { apiKey = key; }

export function hasKey() { return apiKey !== null; }

async function call(path, options = {}) {
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

export async function getJson(path) { return (await call(path)).json(); }

export async function getBytes(path) { return (await call(path)).arrayBuffer(); }

/** Address of a picture for <img>: fetched with the key where there is one. */
export async function pictureUrl(path) {
  if (!apiKey) return path;
  return URL.createObjectURL(await (await call(path)).blob());
}

/** A short-lived secret for one WebSocket, so that the key itself stays out of it. */
export async function clientSecret() {
  if (!apiKey) return undefined;
  const made = await (await call("/v1/realtime/sessions", { method: "POST" })).json();
  return made.client_secret.value;
}

/** Speech for `text` as the bytes of a WAV file. */
export async function synthesize(text, voice) {
  const response = await call("/v1/speech", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text, voice }),
  });
  return response.arrayBuffer();
}
