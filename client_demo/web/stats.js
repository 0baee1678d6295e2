// @ts-check
// The browser's statistics of the received stream: frame rate, bit rate, sound against video.

/** @typedef {{fps: number | null, kbps: number | null, offsetMs: number | null}} StreamStats */
/** @typedef {{atMs: number, frames: number, bytes: number, offsetMs: number | null}} Reading */

const EVERY_MS = 500;
const ENOUGH_REPORTS = 3; // of the sender's clocks, before the browser's estimate settles
const PLAUSIBLE_MS = 5000; // with few reports the browser's estimate can be off by a minute

/**
 * Read `peer` twice a second until the returned function is called. A value that this browser does
 * not report is null. offsetMs: how far the sound is ahead of the video, from the sender's clocks
 * at playout.
 * @param {RTCPeerConnection} peer
 * @param {(stats: StreamStats) => void} show
 */
export function watchStats(peer, show) {
  /** @type {Reading | null} */
  let before = null;
  const timer = setInterval(async () => {
    if (peer.connectionState !== "connected") return;
    const now = readings(await peer.getStats());
    if (before) show(difference(before, now));
    before = now;
  }, EVERY_MS);
  return () => clearInterval(timer);
}

/**
 * @param {RTCStatsReport} report
 * @returns {Reading}
 */
function readings(report) {
  /** @type {any[]} */
  const all = [];
  report.forEach((one) => all.push(one));
  const tracks = all.filter(({ type }) => type === "inbound-rtp");
  const audio = tracks.find(({ kind }) => kind === "audio");
  const video = tracks.find(({ kind }) => kind === "video");
  const reports = all.filter(({ type }) => type === "remote-outbound-rtp");
  const isSettled = reports.length === 2
    && reports.every(({ reportsSent }) => reportsSent >= ENOUGH_REPORTS);
  const playout = [audio, video].map((track) => track?.estimatedPlayoutTimestamp);
  return {
    atMs: video?.timestamp ?? audio?.timestamp ?? 0,
    frames: video?.framesDecoded ?? 0,
    bytes: (audio?.bytesReceived ?? 0) + (video?.bytesReceived ?? 0),
    offsetMs: isSettled && Math.abs(playout[0] - playout[1]) < PLAUSIBLE_MS
      ? playout[0] - playout[1] : null,
  };
}

/**
 * @param {Reading} before
 * @param {Reading} now
 * @returns {StreamStats}
 */
function difference(before, now) {
  const seconds = (now.atMs - before.atMs) / 1000;
  if (!(seconds > 0)) return { fps: null, kbps: null, offsetMs: now.offsetMs };
  return {
    fps: (now.frames - before.frames) / seconds,
    kbps: ((now.bytes - before.bytes) * 8) / 1000 / seconds,
    offsetMs: now.offsetMs,
  };
}
