// One session: its WebSocket, and the WebRTC stream negotiated over it.
// Dispatches "event" (detail: a server event), "media" (detail: a MediaStream) and "end".

import { appendMessage } from "./wire.js";

const SUBPROTOCOL = "avatar.v1";
const SECRET_PREFIX = "avatar.secret.";

// About what browsers hold back of sound before they play it. Without this they show pictures at
// once and let them fall back to the sound over the first 15 s (seen in Chromium 156).
const PICTURE_BUFFER_MS = 80;
const RESUME_EVERY_MS = 500;
const LOST = 1006; // RFC 6455, 7.1.5: closed without a word

export class Session extends EventTarget {
  /** @param {{character: string, rate: number, secret?: string}} wishes rate: Hz of the speech sent */
  constructor({ character, rate, secret }) {
    super();
    this.rate = rate;
    this.granted = null; // the latest session.created or session.updated
    this.peer = null;
    this.seq = 0;
    this.closed = false;
    this.lostAt = null; // performance.now() at which the socket was lost
    this.open({ character }, secret);
  }

  open(query, secret) {
    const address = new URL("/v1/realtime", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.search = new URLSearchParams(query);
    const protocols = secret ? [SUBPROTOCOL, SECRET_PREFIX + secret] : [SUBPROTOCOL];
    this.socket = new WebSocket(address, protocols);
    this.socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
    this.socket.onclose = ({ code, reason }) => this.lose(reason || (code === LOST ? "the server is gone" : `code ${code}`));
  }

  /** The socket went: within `resume_ms` the session is taken up again, its media undisturbed. */
  lose(reason) {
    if (this.closed) return;
    this.lostAt ??= performance.now();
    const canResume = this.peer?.connectionState === "connected"
      && performance.now() - this.lostAt < this.granted.resume_ms;
    if (!canResume) return this.end(reason);
    const { session_id: session, resume_secret: secret } = this.granted;
    setTimeout(() => { if (!this.closed) this.open({ session }, secret); }, RESUME_EVERY_MS);
  }

  send(type, fields = {}) {
    if (this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ type, ...fields }));
    }
  }

  /** Append speech of one speaker; any number of samples, faster than real time if you like. */
  speak(samples, speakerIndex) {
    const seq = this.seq++; // counts on while the socket is lost, so that the server tells the gap
    if (this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(appendMessage(samples, speakerIndex, seq));
    }
  }

  commit(speaker) { this.send("input_audio_buffer.commit", { speaker }); }

  /** Silence one speaker, or everyone when none is named. */
  interrupt(speaker) { this.send("output_audio_buffer.clear", speaker ? { speaker } : {}); }

  setEmotion(speaker, emotion, strength) {
    this.send("avatar.emotion.update", { speaker, emotion, strength });
  }

  close() {
    if (this.closed) return;
    this.send("session.close");
    this.end("closed");
    this.socket.close();
  }

  receive(event) {
    if (event.type === "session.created") {
      const isNew = this.granted === null;
      this.granted = event;
      this.lostAt = null;
      if (!isNew) return; // taken up again
      const format = { type: "audio/pcm", rate: this.rate, channels: 1 };
      this.send("session.update", { session: { audio: { input: { format } } } });
      this.offer().catch((error) => this.end(`WebRTC: ${error.message}`));
    } else if (event.type === "session.updated") {
      this.granted = event;
    } else if (event.type === "webrtc.answer") {
      this.peer.setRemoteDescription({ type: "answer", sdp: event.sdp })
        .catch((error) => this.end(`WebRTC: ${error.message}`));
    }
    this.tell("event", event);
  }

  async offer() {
    // The server's "no name" and "no password" are null, which WebRTC would take for text.
    const iceServers = this.granted.ice_servers.map((server) => (
      Object.fromEntries(Object.entries(server).filter(([, value]) => value !== null))));
    this.peer = new RTCPeerConnection({ iceServers });
    this.peer.addTransceiver("audio", { direction: "recvonly" });
    this.peer.addTransceiver("video", { direction: "recvonly" });
    const stream = new MediaStream();
    this.peer.ontrack = ({ track, receiver }) => {
      if (track.kind === "video") receiver.jitterBufferTarget = PICTURE_BUFFER_MS;
      stream.addTrack(track);
      this.tell("media", stream);
    };
    this.peer.onicecandidate = ({ candidate }) => {
      if (candidate) this.send("webrtc.candidate", { candidate: candidate.toJSON() });
    };
    this.peer.onconnectionstatechange = () => {
      if (this.peer.connectionState === "failed") this.end("the media connection failed");
    };
    await this.peer.setLocalDescription();
    this.send("webrtc.offer", { sdp: this.peer.localDescription.sdp });
  }

  end(reason) {
    if (this.closed) return;
    this.closed = true;
    this.peer?.close();
    this.socket.close();
    this.tell("end", reason);
  }

  tell(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }
}
