// @ts-check
// Detects when a mouth starts to move: a small copy of the mouth region of each shown frame is
// compared with the mouth at rest.

/** @typedef {import("./api.js").Box} Box */
/**
 * @typedef {{region: Box, rest: Float32Array | null, restless: number, waiting: boolean,
 *   speaking: boolean}} Face restless: largest recent movement at rest
 */

const WIDTH = 32;
const HEIGHT = 16;
const LEARN = 0.08; // weight of each frame at rest in the remembered one
const MOVED = 2.2; // times the movement at rest: speech
const MIN_MOVE = 1.5; // mean difference of 8-bit values below which nothing moves

/**
 * The mouth's part of a face box, as fractions of the frame.
 * @param {Box} box
 * @returns {Box}
 */
export function mouthRegion({ x, y, width, height }) {
  return { x: x + width * 0.22, y: y + height * 0.58, width: width * 0.56, height: height * 0.36 };
}

export class MouthWatch {
  /**
   * @param {HTMLVideoElement} video
   * @param {(speaker: string, atMs: number) => void} onMove first frame that moves after `expect`
   */
  constructor(video, onMove) {
    this.video = video;
    this.onMove = onMove;
    /** @type {Map<string, Face>} */
    this.faces = new Map();
    const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
    this.pen = /** @type {CanvasRenderingContext2D} */ (
      canvas.getContext("2d", { willReadFrequently: true }));
    this.next();
  }

  /** @param {{id: string, box: Box}[]} speakers to watch from now on */
  follow(speakers) {
    this.faces = new Map(speakers.map(({ id, box }) => [
      id,
      { region: mouthRegion(box), rest: null, restless: MIN_MOVE, waiting: false, speaking: false },
    ]));
  }

  /**
   * Report the next first movement of this speaker.
   * @param {string} speaker
   */
  expect(speaker) {
    const face = this.faces.get(speaker);
    if (face?.rest && !face.speaking) face.waiting = true;
  }

  /**
   * The mouth at rest is learned only while its speaker is silent.
   * @param {string} speaker
   * @param {boolean} speaking
   */
  setSpeaking(speaker, speaking) {
    const face = this.faces.get(speaker);
    if (face) Object.assign(face, { speaking, waiting: face.waiting && speaking });
  }

  next() {
    const look = (/** @type {number} */ now) => { this.look(now); this.next(); };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(look);
    else requestAnimationFrame(look);
  }

  /** @param {number} now time of the shown frame, in the clock of performance.now() */
  look(now) {
    if (!this.video.videoWidth) return;
    for (const [speaker, face] of this.faces) {
      const seen = this.copy(face.region);
      const rest = face.rest ??= Float32Array.from(seen);
      const moved = seen.reduce((sum, x, i) => sum + Math.abs(x - rest[i]), 0) / seen.length;
      if (face.waiting && moved > face.restless * MOVED) {
        face.waiting = false;
        this.onMove(speaker, now);
      } else if (!face.waiting && !face.speaking) {
        face.restless = Math.max(MIN_MOVE, moved, face.restless * 0.98);
        seen.forEach((x, i) => { rest[i] += (x - rest[i]) * LEARN; });
      }
    }
  }

  /**
   * Brightness (WIDTH * HEIGHT values, 0 to 255) of a region of the current frame.
   * @param {Box} region
   */
  copy({ x, y, width, height }) {
    const { videoWidth: w, videoHeight: h } = this.video;
    this.pen.drawImage(this.video, x * w, y * h, width * w, height * h, 0, 0, WIDTH, HEIGHT);
    const { data } = this.pen.getImageData(0, 0, WIDTH, HEIGHT);
    const light = new Float32Array(WIDTH * HEIGHT);
    for (let i = 0; i < light.length; i++) {
      light[i] = 0.3 * data[i * 4] + 0.59 * data[i * 4 + 1] + 0.11 * data[i * 4 + 2];
    }
    return light;
  }
}
