// @ts-check
// One session: its WebSocket, and the WebRTC stream negotiated over it.
// Dispatches "event" (detail: a server event), "media" (detail: a MediaStream), "playing" and "end"
// (detail: the reason).

import { address, refusalOfSocket } from "./api.js";
import { appendMessage } from "./wire.js";

/** @typedef {import("./api.js").Speaker} Speaker */
/** @typedef {{type: string, [field: string]: any}} ServerEvent */
/**
 * @typedef {ServerEvent & {
 *   session_id: string, resume_secret: string, resume_ms: number, ice_servers: RTCIceServer[],
 *   speakers: Speaker[], capabilities: {emotions: string[], tts: boolean},
 * }} Granted the server's session.created or session.updated
 */

const SUBPROTOCOL = "avatar.v1";
const SECRET_PREFIX = "avatar.secret.";

// About the sound that browsers buffer before they play it. Without this, browsers show frames at
// once and delay them to match the sound over the first 15 s (observed in Chromium 156).
const VIDEO_BUFFER_MS = 80;
const RESUME_EVERY_MS = 500;
const MOVE_EVERY_MS = 2_000;
const LOST = 1006; // RFC 6455, 7.1.5: closed without a close frame

export class Session extends EventTarget {
  /** @param {{character: string, rate: number, secret?: string}} options rate: Hz of the speech */
  constructor({ character, rate, secret }) {
    super();
    this.rate = rate;
    /** @type {Granted | null} */
    this.granted = null;
    /** @type {RTCPeerConnection | null} */
    this.peer = null;
    this.seq = 0;
    this.closed = false;
    /** @type {number | null} performance.now() at which the socket was lost */
    this.lostAt = null;
    this.movedAt = -Infinity;
    this.wasConnected = false;
    this.socket = this.open({ character }, secret);
    window.addEventListener("online", this.move);
  }

  /**
   * @param {Record<string, string>} query
   * @param {string} [secret]
   */
  open(query, secret) {
    const url = address("/v1/realtime");
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.search = new URLSearchParams(query).toString();
    const protocols = secret ? [SUBPROTOCOL, SECRET_PREFIX + secret] : [SUBPROTOCOL];
    const socket = new WebSocket(url, protocols);
    let isOpen = false;
    socket.onopen = () => { isOpen = true; };
    socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
    socket.onclose = ({ code, reason }) => {
      if (isOpen) this.onSocketClosed(reason || (code === LOST ? "The server is gone." : `Code ${code}.`));
      else this.onSocketRefused(query.session);
    };
    this.socket = socket;
    return socket;
  }

  /**
   * A socket did not open: end with the server's reason, or try again if nothing answers.
   * @param {string} [session] id of the session that it would have resumed
   */
  async onSocketRefused(session) {
    const refusal = await refusalOfSocket(session);
    const isFinal = refusal.status >= 400 && refusal.status < 500 && refusal.status !== 429;
    if (isFinal || !session) this.end(refusal.message);
    else this.onSocketClosed(refusal.message);
  }

  /**
   * Resume the session over a new socket within `resume_ms`; its media keep playing.
   * @param {string} reason
   */
  onSocketClosed(reason) {
    if (this.closed) return;
    this.lostAt ??= performance.now();
    const { granted } = this;
    const canResume = granted && this.wasConnected
      && performance.now() - this.lostAt < granted.resume_ms;
    if (!canResume) return this.end(reason);
    setTimeout(() => {
      if (!this.closed) this.open({ session: granted.session_id }, granted.resume_secret);
    }, RESUME_EVERY_MS);
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} fields
   */
  send(type, fields = {}) {
    if (this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ type, ...fields }));
    }
  }

  /**
   * Append speech of one speaker: any number of samples, also faster than real time.
   * @param {Int16Array} samples
   * @param {number} speakerIndex
   */
  speak(samples, speakerIndex) {
    const seq = this.seq++; // counts on while the socket is lost, so that the server sees the gap
    if (this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(appendMessage(samples, speakerIndex, seq));
    }
  }

  /** @param {string} speaker */
  commit(speaker) { this.send("input_audio_buffer.commit", { speaker }); }

  /** @param {string} [speaker] silence this one; all if left out */
  interrupt(speaker) { this.send("output_audio_buffer.clear", speaker ? { speaker } : {}); }

  /**
   * @param {string} speaker
   * @param {string} emotion
   * @param {number} strength 0 to 1
   */
  setEmotion(speaker, emotion, strength) {
    this.send("avatar.emotion.update", { speaker, emotion, strength });
  }

  close() {
    if (this.closed) return;
    this.send("session.close");
    this.end("closed");
    this.socket.close();
  }

  /** @param {ServerEvent} event */
  receive(event) {
    if (event.type === "session.created") {
      const isNew = this.granted === null;
      this.granted = /** @type {Granted} */ (event);
      this.lostAt = null;
      if (!isNew) { // resumed
        this.renewMedia().catch(this.onWebrtcError);
        return;
      }
      const format = { type: "audio/pcm", rate: this.rate, channels: 1 };
      this.send("session.update", { session: { audio: { input: { format } } } });
      this.offer(this.granted.ice_servers).catch(this.onWebrtcError);
    } else if (event.type === "session.updated") {
      this.granted = /** @type {Granted} */ (event);
    } else if (event.type === "webrtc.answer") {
      if (this.peer?.signalingState === "have-local-offer") {
        this.peer.setRemoteDescription({ type: "answer", sdp: event.sdp }).catch(this.onWebrtcError);
      }
    }
    this.emit("event", event);
  }

  onWebrtcError = (/** @type {Error} */ error) => this.end(`WebRTC: ${error.message}`);

  /** @param {RTCIceServer[]} iceServers */
  async offer(iceServers) {
    const peer = this.peer = new RTCPeerConnection({ iceServers });
    peer.addTransceiver("audio", { direction: "recvonly" });
    peer.addTransceiver("video", { direction: "recvonly" });
    const stream = new MediaStream();
    peer.ontrack = ({ track, receiver }) => {
      if (track.kind === "video") receiver.jitterBufferTarget = VIDEO_BUFFER_MS;
      stream.addTrack(track);
      this.emit("media", stream);
    };
    peer.onicecandidate = ({ candidate }) => {
      if (candidate) this.send("webrtc.candidate", { candidate: candidate.toJSON() });
    };
    peer.onconnectionstatechange = () => this.onConnectionState(peer.connectionState);
    await peer.setLocalDescription();
    this.send("webrtc.offer", { sdp: peer.localDescription?.sdp });
  }

  /** @param {RTCPeerConnectionState} state */
  onConnectionState(state) {
    if (state === "connected") this.wasConnected = true;
    else if (state === "failed" && !this.wasConnected) this.end("The media connection failed.");
    else if (state === "failed" || state === "disconnected") this.move();
  }

  /** Go on over the network that there is now: another socket, then another way for the media. */
  move = () => {
    const { granted, socket } = this;
    if (this.closed || !granted || !this.wasConnected) return;
    if (performance.now() - this.movedAt < MOVE_EVERY_MS) return;
    this.movedAt = performance.now();
    socket.onclose = null; // what it still brings is welcome
    this.open({ session: granted.session_id }, granted.resume_secret);
    socket.close();
    setTimeout(() => { if (this.peer?.connectionState !== "connected") this.move(); }, MOVE_EVERY_MS);
  };

  /** Offer again after a move, or if the media are lost; what was playing plays until the answer. */
  async renewMedia() {
    const { peer } = this;
    const hasMoved = performance.now() - this.movedAt < MOVE_EVERY_MS;
    if (!peer || (peer.connectionState === "connected" && !hasMoved)) return;
    if (peer.signalingState !== "stable") await peer.setLocalDescription({ type: "rollback" });
    peer.restartIce();
    await peer.setLocalDescription();
    this.send("webrtc.offer", { sdp: peer.localDescription?.sdp });
  }

  /** @param {string} reason */
  end(reason) {
    if (this.closed) return;
    this.closed = true;
    window.removeEventListener("online", this.move);
    this.peer?.close();
    this.socket.close();
    this.emit("end", reason);
  }

  /**
   * @param {"event" | "media" | "playing" | "end"} name
   * @param {unknown} [detail]
   */
  emit(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }

  /**
   * Call `run` with the detail of every event `name`.
   * @param {"event" | "media" | "playing" | "end"} name
   * @param {(detail: any) => void} run
   */
  on(name, run) {
    this.addEventListener(name, (event) => run(/** @type {CustomEvent} */ (event).detail));
  }
}
