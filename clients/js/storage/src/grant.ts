/**
 * What lets somebody else read a database: its keys, wrapped to his own. Purpose and expiry are bound to the
 * wrapped keys; software that respects them refuses a grant that is over. Only a new epoch keeps him from what
 * is written later, and nothing keeps him from what he has read.
 */

import { x25519 } from "@noble/curves/ed25519.js";

import { canonical, fromBase64Url, text, toBase64Url, utf8 } from "./bytes.js";
import { SealedDatabase } from "./database.js";
import { openWith, sealTo } from "./hpke.js";

/** A key pair to which databases are shared. */
export interface SharingKey {
  publicKey: Uint8Array;
  secretKey: Uint8Array;
}

/** A fresh one. */
export function generateSharingKey(): SharingKey {
  return x25519.keygen();
}

/** What a database is shared for. */
export interface Terms {
  purpose: string;
  /** Milliseconds since 1970. */
  expires: number;
}

interface Secret {
  ids: string;
  epoch: number;
  keys: Record<string, string>;
}

export class Grant {
  constructor(
    readonly db: string,
    readonly recipient: string,
    readonly purpose: string,
    readonly expires: number,
    readonly enc: string,
    readonly ct: string,
  ) {}

  /** As it travels. */
  toJSON() {
    const { db, recipient, purpose, expires, enc, ct } = this;
    return { v: 1, db, recipient, purpose, expires, enc, ct };
  }

  static fromJSON(json: ReturnType<Grant["toJSON"]>): Grant {
    if (json.v !== 1) {
      throw new Error("the grant is of an unknown kind");
    }
    return new Grant(json.db, json.recipient, json.purpose, json.expires, json.enc, json.ct);
  }

  /** The database that is shared. Fails for others than the recipient, and from the expiry on. */
  accept(key: SharingKey, now: number = Date.now()): SealedDatabase {
    if (now >= this.expires) {
      throw new Error("the grant is over");
    }
    const message = { enc: fromBase64Url(this.enc), ct: fromBase64Url(this.ct) };
    const opened = openWith(key.secretKey, about(this), message);
    const { ids, epoch, keys } = JSON.parse(text(opened)) as Secret;
    const all = Object.entries(keys).map(([one, key]) => [Number(one), fromBase64Url(key)] as const);
    const database = new SealedDatabase(fromBase64Url(ids), new Map(all), epoch);
    if (database.id !== this.db) {
      throw new Error("the grant is for another database");
    }
    return database;
  }
}

/** Not for callers: `SealedDatabase.share` makes grants. */
export function wrapFor(recipient: Uint8Array, db: string, terms: Terms, secret: Secret): Grant {
  const to = toBase64Url(recipient);
  const { purpose, expires } = terms;
  const info = about({ db, recipient: to, purpose, expires });
  const { enc, ct } = sealTo(recipient, info, utf8(JSON.stringify(secret)));
  return new Grant(db, to, purpose, expires, toBase64Url(enc), toBase64Url(ct));
}

function about({ db, recipient, purpose, expires }: Pick<Grant, "db" | "recipient" | "purpose" | "expires">) {
  return canonical({ v: 1, db, recipient, purpose, expires });
}
