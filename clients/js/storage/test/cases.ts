/** The test vectors, which other implementations are held to. */

import { RootSecret } from "../src/index.js";
import { toBase64Url } from "../src/bytes.js";

const bytes = (length: number, begin: number) => Uint8Array.from({ length }, (_, n) => (begin + n) % 256);

export const cases = [
  { document: { _id: "a" }, epoch: 0 },
  { document: { _id: "ünï/🦀", text: "words", n: 1.5, list: [null, true] }, epoch: 0 },
  { document: { _id: "a", _rev: "3-abc", text: "x".repeat(300) }, epoch: 2 },
];

export function make() {
  const secret = bytes(32, 1);
  const root = RootSecret.fromBytes(secret);
  const made = cases.map(({ document, epoch }, n) => {
    const database = root.database("app", "notes", epoch);
    const sealed = database.seal(document, bytes(24, 100 + n));
    return { document, db: database.id, sealed };
  });
  return { root: toBase64Url(secret), context: "app", name: "notes", cases: made };
}
