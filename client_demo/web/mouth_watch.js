// Sees when a mouth begins to move: small copies of the mouth region of each shown picture are
// compared with how it looked at rest.

const WIDTH = 32;
const HEIGHT = 16;
const LEARN = 0.08; // share of each resting picture in the remembered one
const SURE = 2.2; // how far above the resting movement counts as speech
const LEAST = 1.5; // mean difference of 8-bit values below which nothing moves

/** The mouth's part of a face box, as fractions of the picture. */
export function mouthRegion({ x, y, width, height }) {
  return { x: x + width * 0.22, y: y + height * 0.58, width: width * 0.56, height: height * 0.36 };
}

export class MouthWatch {
  /** @param {(speaker: string, atMs: number) => void} onMove first moving picture after `expect` */
  constructor(video, onMove) {
    this.video = video;
    this.onMove = onMove;
    this.faces = new Map();
    this.canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
    this.pen = this.canvas.getContext("2d", { willReadFrequently: true });
    this.next();
  }

  /** Watch these speakers: `[{id, box}]`. */
  follow(speakers) {
    this.faces = new Map(speakers.map(({ id, box }) => [
      id, { region: mouthRegion(box), rest: null, restless: LEAST, waiting: false, speaking: false },
    ]));
  }

  /** Report the first movement of this speaker from now on. */
  expect(speaker) {
    const face = this.faces.get(speaker);
    if (face?.rest && !face.speaking) face.waiting = true;
  }

  /** While somebody speaks, nothing is learnt about the mouth at rest. */
  setSpeaking(speaker, speaking) {
    const face = this.faces.get(speaker);
    if (face) Object.assign(face, { speaking, waiting: face.waiting && speaking });
  }

  next() {
    const look = (now) => { this.look(now); this.next(); };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(look);
    else requestAnimationFrame(look);
  }

  look(now) {
    if (!this.video.videoWidth) return;
    for (const [speaker, face] of this.faces) {
      const seen = this.copy(face.region);
      if (!face.rest) face.rest = Float32Array.from(seen);
      const moved = seen.reduce((sum, x, i) => sum + Math.abs(x - face.rest[i]), 0) / seen.length;
      if (face.waiting && moved > face.restless * SURE) {
        face.waiting = false;
        this.onMove(speaker, now);
      } else if (!face.waiting && !face.speaking) {
        face.restless = Math.max(LEAST, moved, face.restless * 0.98);
        seen.forEach((x, i) => { face.rest[i] += (x - face.rest[i]) * LEARN; });
      }
    }
  }

  /** Brightness (WIDTH * HEIGHT values, 0 to 255) of a region of the current picture. */
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
