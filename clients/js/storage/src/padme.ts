/**
 * Padding that hides a length but for its order of magnitude, at a cost of 12 % at most (Nikitin and others,
 * "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019).
 */

/** The shortest padded length that is no less than `length`. */
export function padme(length: number): number {
  if (length < 2) {
    return length;
  }
  const exponent = Math.floor(Math.log2(length));
  const bits = Math.floor(Math.log2(exponent)) + 1;
  const step = 2 ** Math.max(0, exponent - bits);
  return Math.ceil(length / step) * step;
}

const PREFIX = 4;

/** The content behind its length (32 bits, little-endian), with zeros behind it. */
export function pad(content: Uint8Array): Uint8Array {
  const padded = new Uint8Array(padme(PREFIX + content.length));
  new DataView(padded.buffer).setUint32(0, content.length, true);
  padded.set(content, PREFIX);
  return padded;
}

/** What {@link pad} was given. Fails on anything else. */
export function unpad(padded: Uint8Array): Uint8Array {
  if (padded.length < PREFIX) {
    throw new Error("the padding is malformed");
  }
  const view = new DataView(padded.buffer, padded.byteOffset, padded.byteLength);
  const end = PREFIX + view.getUint32(0, true);
  if (padded.length !== padme(end) || padded.subarray(end).some((byte) => byte !== 0)) {
    throw new Error("the padding is malformed");
  }
  return padded.subarray(PREFIX, end);
}
