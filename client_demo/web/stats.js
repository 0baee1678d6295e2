// What the browser reports of the received stream: frame rate, bit rate, sound against picture.

const EVERY_MS = 500;
const ENOUGH_REPORTS = 3; // of the sender's clocks, before the browser's estimate settles
const PLAUSIBLE_MS = 5000; // a starved browser's estimate, laid through few reports, can be a minute off

/**
 * Reads `peer` twice a second until the answered function is called.
 * `show({fps, kbps, offsetMs})`; a value that this browser does not report is null.
 * offsetMs: how far the sound is ahead of the picture, from the senders' clocks at playout.
 */
export function watchStats(peer, show) {
  let before = null;
  const timer = setInterval(async () => {
    if (peer.connectionState !== "connected") return;
    const now = readings(await peer.getStats());
    if (before) show(difference(before, now));
    before = now;
  }, EVERY_MS);
  return () => clearInterval(timer);
}

function readings(report) {
  const tracks = [...report.values()].filter(({ type }) => type === "inbound-rtp");
  const audio = tracks.find(({ kind }) => kind === "audio");
  const video = tracks.find(({ kind }) => kind === "video");
  const reports = [...report.values()].filter(({ type }) => type === "remote-outbound-rtp");
  const settled = reports.length === 2
    && reports.every(({ reportsSent }) => reportsSent >= ENOUGH_REPORTS);
  const playout = [audio, video].map((track) => track?.estimatedPlayoutTimestamp);
  return {
    atMs: video?.timestamp ?? audio?.timestamp ?? 0,
    frames: video?.framesDecoded ?? 0,
    bytes: (audio?.bytesReceived ?? 0) + (video?.bytesReceived ?? 0),
    offsetMs: settled && Math.abs(playout[0] - playout[1]) < PLAUSIBLE_MS
      ? playout[0] - playout[1] : null,
  };
}

function difference(before, now) {
  const seconds = (now.atMs - before.atMs) / 1000;
  if (!(seconds > 0)) return { fps: null, kbps: null, offsetMs: now.offsetMs };
  return {
    fps: (now.frames - before.frames) / seconds,
    kbps: ((now.bytes - before.bytes) * 8) / 1000 / seconds,
    offsetMs: now.offsetMs,
  };
}
