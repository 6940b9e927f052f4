/**
 * One sealed document: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) with a random nonce. What stands beside
 * the ciphertext is authenticated with it, so that a node can neither move a document to another place, nor to
 * another epoch, nor behind another revision.
 */

import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { randomBytes } from "@noble/hashes/utils.js";

import { canonical, fromBase64Url, text, toBase64Url, utf8 } from "./bytes.js";
import { pad, unpad } from "./padme.js";

/** As a node keeps it. */
export interface Envelope {
  v: 1;
  alg: "XC20P";
  /** Names the key, and says nothing of it. */
  kid: string;
  epoch: number;
  /** The revision that the document follows on, as its author saw it. */
  parent: string | null;
  nonce: string;
  ct: string;
}

/** Where an envelope belongs. */
export interface Place {
  db: string;
  doc: string;
  epoch: number;
  kid: string;
  parent: string | null;
}

const NONCE_BYTES = 24;

/** Seals a value that JSON can say. `nonce` is for test vectors; nobody else gives one. */
export function seal(
  key: Uint8Array,
  place: Place,
  value: unknown,
  nonce: Uint8Array = randomBytes(NONCE_BYTES),
): Envelope {
  const cipher = xchacha20poly1305(key, nonce, authenticated(place));
  const ct = cipher.encrypt(pad(utf8(JSON.stringify(value))));
  const { kid, epoch, parent } = place;
  return { v: 1, alg: "XC20P", kid, epoch, parent, nonce: toBase64Url(nonce), ct: toBase64Url(ct) };
}

/** Opens an envelope that lies at this place of this database. Fails if anything of it was changed. */
export function open(key: Uint8Array, db: string, doc: string, envelope: Envelope): unknown {
  const { kid, epoch, parent } = envelope;
  const aad = authenticated({ db, doc, epoch, kid, parent });
  const cipher = xchacha20poly1305(key, fromBase64Url(envelope.nonce), aad);
  return JSON.parse(text(unpad(cipher.decrypt(fromBase64Url(envelope.ct)))));
}

/** The canonical JSON that is authenticated. */
export function authenticated({ db, doc, epoch, kid, parent }: Place): Uint8Array {
  return canonical({ v: 1, db, doc, epoch, kid, parent });
}

/** Whether a document has the shape of an envelope. */
export function isEnvelope(value: unknown): value is Envelope {
  const envelope = value as Partial<Envelope>;
  return (
    typeof value === "object" &&
    value !== null &&
    envelope.v === 1 &&
    envelope.alg === "XC20P" &&
    Number.isSafeInteger(envelope.epoch) &&
    [envelope.kid, envelope.nonce, envelope.ct].every((text) => typeof text === "string") &&
    (envelope.parent === null || typeof envelope.parent === "string")
  );
}
