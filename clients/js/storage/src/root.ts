/**
 * The one secret of a person, from which all keys come. It never leaves in the clear; wrapped by a passphrase it
 * may lie anywhere.
 */

import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { argon2id } from "@noble/hashes/argon2.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { randomBytes } from "@noble/hashes/utils.js";

import { canonical, fromBase64Url, toBase64Url, utf8 } from "./bytes.js";
import { SealedDatabase } from "./database.js";

/** A root secret that only its passphrase opens. */
export interface WrappedRoot {
  v: 1;
  kdf: "argon2id";
  /** Kibibytes. */
  m: number;
  t: number;
  p: number;
  salt: string;
  nonce: string;
  ct: string;
}

/** OWASP's least for argon2id, some tenths of a second in a browser. */
const COST = { m: 19_456, t: 2, p: 1 };
/** What somebody else's file may make this machine do. */
const COST_MAX = { m: 1_048_576, t: 16, p: 4 };
const BYTES = 32;

/** A key for one purpose (RFC 5869 with SHA-256). `path` names it, part by part. */
export function derive(key: Uint8Array, ...path: string[]): Uint8Array {
  const info = utf8(["kwaainet storage 1", ...path].join("\0"));
  return hkdf(sha256, key, undefined, info, BYTES);
}

export class RootSecret {
  readonly #secret: Uint8Array;

  private constructor(secret: Uint8Array) {
    this.#secret = secret;
  }

  /** A fresh one. */
  static generate(): RootSecret {
    return new RootSecret(randomBytes(BYTES));
  }

  /** From bytes that were kept elsewhere, as by a recovery phrase. */
  static fromBytes(bytes: Uint8Array): RootSecret {
    if (bytes.length !== BYTES) {
      throw new Error(`a root secret has ${BYTES} bytes`);
    }
    return new RootSecret(Uint8Array.from(bytes));
  }

  /** Wraps it by a passphrase. */
  wrap(passphrase: string): WrappedRoot {
    const [salt, nonce] = [randomBytes(16), randomBytes(24)];
    const head = { v: 1, kdf: "argon2id", ...COST, salt: toBase64Url(salt) } as const;
    const key = argon2id(utf8(passphrase.normalize("NFKC")), salt, { ...COST, dkLen: BYTES });
    const ct = xchacha20poly1305(key, nonce, canonical(head)).encrypt(this.#secret);
    return { ...head, nonce: toBase64Url(nonce), ct: toBase64Url(ct) };
  }

  /** Unwraps one. Fails with a wrong passphrase, and with costs that nobody means. */
  static unwrap(wrapped: WrappedRoot, passphrase: string): RootSecret {
    const { v, kdf, m, t, p, salt } = wrapped;
    const sound = v === 1 && kdf === "argon2id" && m <= COST_MAX.m && t <= COST_MAX.t && p <= COST_MAX.p;
    if (!sound) {
      throw new Error("the wrapped secret is of an unknown kind");
    }
    const cost = { m, t, p, dkLen: BYTES };
    const key = argon2id(utf8(passphrase.normalize("NFKC")), fromBase64Url(salt), cost);
    const aad = canonical({ v, kdf, m, t, p, salt });
    const cipher = xchacha20poly1305(key, fromBase64Url(wrapped.nonce), aad);
    return RootSecret.fromBytes(cipher.decrypt(fromBase64Url(wrapped.ct)));
  }

  /**
   * The keys of one database. `context` tells applications apart, `epoch` is raised to shut somebody out: what is
   * sealed from then on he cannot read. What he could read before he may have kept.
   */
  database(context: string, name: string, epoch = 0): SealedDatabase {
    const own = derive(derive(this.#secret, "context", context), "database", name);
    const keys = new Map<number, Uint8Array>();
    for (let one = 0; one <= epoch; one++) {
      keys.set(one, derive(own, "epoch", String(one)));
    }
    return new SealedDatabase(derive(own, "ids"), keys, epoch);
  }
}
