/**
 * Hybrid Public Key Encryption (RFC 9180) in base mode, one message to a key: DHKEM(X25519, HKDF-SHA256),
 * HKDF-SHA256, ChaCha20-Poly1305.
 */

import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { x25519 } from "@noble/curves/ed25519.js";
import { expand, extract } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";

import { concat, utf8 } from "./bytes.js";

const KEM = concat(utf8("KEM"), Uint8Array.of(0x00, 0x20));
const SUITE = concat(utf8("HPKE"), Uint8Array.of(0x00, 0x20, 0x00, 0x01, 0x00, 0x03));
const NONE = new Uint8Array();
const MODE_BASE = Uint8Array.of(0);

/** A message for one key. */
export interface Message {
  enc: Uint8Array;
  ct: Uint8Array;
}

/** Seals for whoever has the secret key to this public one. */
export function sealTo(recipient: Uint8Array, info: Uint8Array, message: Uint8Array): Message {
  const ephemeral = x25519.keygen();
  const dh = x25519.getSharedSecret(ephemeral.secretKey, recipient);
  const enc = ephemeral.publicKey;
  const { key, nonce } = schedule(dh, concat(enc, recipient), info);
  return { enc, ct: chacha20poly1305(key, nonce, NONE).encrypt(message) };
}

/** Opens what was sealed to this key. Fails if it was not, or with other `info`. */
export function openWith(secretKey: Uint8Array, info: Uint8Array, { enc, ct }: Message): Uint8Array {
  const dh = x25519.getSharedSecret(secretKey, enc);
  const { key, nonce } = schedule(dh, concat(enc, x25519.getPublicKey(secretKey)), info);
  return chacha20poly1305(key, nonce, NONE).decrypt(ct);
}

function schedule(dh: Uint8Array, context: Uint8Array, info: Uint8Array) {
  const prk = labeledExtract(KEM, NONE, "eae_prk", dh);
  const shared = labeledExpand(KEM, prk, "shared_secret", context, 32);
  const about = concat(
    MODE_BASE,
    labeledExtract(SUITE, NONE, "psk_id_hash", NONE),
    labeledExtract(SUITE, NONE, "info_hash", info),
  );
  const secret = labeledExtract(SUITE, shared, "secret", NONE);
  return {
    key: labeledExpand(SUITE, secret, "key", about, 32),
    nonce: labeledExpand(SUITE, secret, "base_nonce", about, 12),
  };
}

function labeledExtract(suite: Uint8Array, salt: Uint8Array, label: string, ikm: Uint8Array) {
  return extract(sha256, concat(utf8("HPKE-v1"), suite, utf8(label), ikm), salt);
}

function labeledExpand(
  suite: Uint8Array,
  prk: Uint8Array,
  label: string,
  info: Uint8Array,
  length: number,
) {
  const size = Uint8Array.of(length >> 8, length & 0xff);
  return expand(sha256, prk, concat(size, utf8("HPKE-v1"), suite, utf8(label), info), length);
}
