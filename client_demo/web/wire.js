// @ts-check
// The binary form of an append: 12 header bytes, little endian, then PCM16.
//   magic u16 = 0xA17A | version u8 | speaker index u8 | seq u32 | flags u32 (bit 0 = commit)

const HEADER_BYTES = 12;
const MAGIC = 0xa17a;
const VERSION = 1;
const FLAG_COMMIT = 1;

/**
 * One binary WebSocket message.
 * @param {Int16Array} samples mono PCM16
 * @param {number} speakerIndex place in the session's list of speakers
 * @param {number} seq number of the message in the session, from 0
 * @param {boolean} commit whether the item ends with these samples
 */
export function appendMessage(samples, speakerIndex, seq, commit = false) {
  const message = new ArrayBuffer(HEADER_BYTES + samples.length * 2);
  const view = new DataView(message);
  view.setUint16(0, MAGIC, true);
  view.setUint8(2, VERSION);
  view.setUint8(3, speakerIndex);
  view.setUint32(4, seq, true);
  view.setUint32(8, commit ? FLAG_COMMIT : 0, true);
  for (let i = 0; i < samples.length; i++) view.setInt16(HEADER_BYTES + i * 2, samples[i], true);
  return message;
}

/** @param {Float32Array} floats in [-1, 1] */
export function toPcm16(floats) {
  return Int16Array.from(floats, (x) => Math.round(Math.max(-1, Math.min(1, x)) * 32767));
}
