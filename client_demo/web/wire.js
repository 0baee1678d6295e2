// The binary form of an append: 12 header bytes, little endian, then PCM16.
//   magic u16 = 0xA17A | version u8 | speaker index u8 | seq u32 | flags u32 (bit 0 = commit)

const HEADER_BYTES = 12;
const MAGIC = 0xa17a;
const VERSION = 1;
const FLAG_COMMIT = 1;

/** @param {Int16Array} samples mono PCM16  @returns {ArrayBuffer} one WebSocket message */
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

/** Float samples in [-1, 1] as PCM16. */
export function toPcm16(floats) {
  return Int16Array.from(floats, (x) => Math.round(Math.max(-1, Math.min(1, x)) * 32767));
}
