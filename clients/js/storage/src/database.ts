/** The keys of one database, and what is done with them: documents sealed, opened, shared. */

import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";

import { toBase64Url, utf8 } from "./bytes.js";
import { Envelope, isEnvelope, open, seal } from "./envelope.js";
import { Grant, Terms, wrapFor } from "./grant.js";
import { derive } from "./root.js";

/** A document in the clear. */
export interface Plain {
  _id: string;
  _rev?: string;
  _deleted?: boolean;
  [member: string]: unknown;
}

/** A document as a node may see it. */
export type Sealed = Envelope & { _id: string; _rev?: string };

/** A tombstone, which says nothing. */
export interface Tombstone {
  _id: string;
  _rev?: string;
  _deleted: true;
}

export class SealedDatabase {
  readonly #ids: Uint8Array;
  readonly #keys: ReadonlyMap<number, Uint8Array>;
  /** What is sealed from now on. */
  readonly epoch: number;

  /** Not for callers: `RootSecret.database` and `Grant.accept` make them. */
  constructor(ids: Uint8Array, keys: ReadonlyMap<number, Uint8Array>, epoch: number) {
    this.#ids = ids;
    this.#keys = keys;
    this.epoch = epoch;
  }

  /** What nodes may know of the database's name. */
  get id(): string {
    return this.#opaque("database", "");
  }

  /** The id under which a node keeps a document. */
  opaqueId(id: string): string {
    return this.#opaque("document", id);
  }

  /** Seals a document. Everything in it but `_rev` and `_deleted` is hidden, its id too. */
  seal(document: Plain, nonce?: Uint8Array): Sealed | Tombstone {
    const { _rev, _deleted, ...said } = document;
    const doc = this.opaqueId(document._id);
    const rev = _rev === undefined ? {} : { _rev };
    if (_deleted) {
      return { _id: doc, ...rev, _deleted: true };
    }
    const hidden = Object.keys(said).find((name) => name.startsWith("_") && name !== "_id");
    if (hidden !== undefined) {
      throw new Error(`${hidden} cannot be sealed`);
    }
    const key = this.#key(this.epoch);
    const place = { db: this.id, doc, epoch: this.epoch, kid: keyId(key), parent: _rev ?? null };
    return { _id: doc, ...rev, ...seal(derive(key, "document", doc), place, said, nonce) };
  }

  /** Opens a document that a node gave. Fails if it is not what its author sealed there. */
  open(sealed: { _id: string; _rev?: string }): Plain {
    if (!isEnvelope(sealed)) {
      throw new Error("the document is no envelope");
    }
    const key = this.#key(sealed.epoch);
    if (keyId(key) !== sealed.kid) {
      throw new Error("the document was sealed with another key");
    }
    const said = open(derive(key, "document", sealed._id), this.id, sealed._id, sealed) as Plain;
    if (this.opaqueId(said._id) !== sealed._id) {
      throw new Error("the document lies under another id");
    }
    return sealed._rev === undefined ? said : { ...said, _rev: sealed._rev };
  }

  /** Lets somebody read and write as long as the terms hold, up to this epoch. */
  share(recipient: Uint8Array, terms: Terms): Grant {
    const keys = Object.fromEntries([...this.#keys].map(([epoch, key]) => [epoch, toBase64Url(key)]));
    const secret = { ids: toBase64Url(this.#ids), epoch: this.epoch, keys };
    return wrapFor(recipient, this.id, terms, secret);
  }

  #key(epoch: number): Uint8Array {
    const key = this.#keys.get(epoch);
    if (key === undefined) {
      throw new Error(`there is no key of epoch ${epoch}`);
    }
    return key;
  }

  #opaque(kind: string, name: string): string {
    return toBase64Url(hmac(sha256, this.#ids, utf8(`${kind}\0${name}`)));
  }
}

function keyId(key: Uint8Array): string {
  return toBase64Url(derive(key, "key id").subarray(0, 16));
}
