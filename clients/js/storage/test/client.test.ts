import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { AeadId, CipherSuite, KdfId, KemId } from "hpke-js";

import { canonical, fromBase64Url, text, toBase64Url, utf8 } from "../src/bytes.js";
import { openWith, sealTo } from "../src/hpke.js";
import { generateSharingKey, Grant, isEnvelope, RootSecret } from "../src/index.js";
import { pad, padme, unpad } from "../src/padme.js";
import { cases, make } from "./cases.js";


const root = RootSecret.fromBytes(new Uint8Array(32).fill(7));
const database = root.database("app", "notes");

test("a document is opened as it was sealed, and nothing of it is readable", () => {
  const document = { _id: "a person's name", _rev: "1-a", text: "words", list: [1, null, { ä: "🦀" }] };
  const sealed = database.seal(document);
  assert.ok(isEnvelope(sealed));
  assert.match(sealed._id, /^[A-Za-z0-9_-]{43}$/);
  assert.equal(sealed._rev, "1-a");
  assert.doesNotMatch(JSON.stringify(sealed), /person|words/);
  assert.deepEqual(database.open(sealed), document);
  assert.notEqual(database.seal(document), sealed, "each time with another nonce");
  assert.deepEqual(database.seal({ _id: "a", _rev: "2-b", _deleted: true, text: "words" }), {
    _id: database.opaqueId("a"),
    _rev: "2-b",
    _deleted: true,
  });
  assert.throws(() => database.seal({ _id: "a", _attachments: {} }));
});

test("whatever is changed is noticed", () => {
  const sealed = database.seal({ _id: "a", n: 1 });
  assert.ok(isEnvelope(sealed));
  const flipped = (encoded: string) => {
    const bytes = fromBase64Url(encoded);
    bytes[0]! ^= 1;
    return toBase64Url(bytes);
  };
  for (const changed of [
    { _id: database.opaqueId("b") },
    { kid: "x" },
    { epoch: 1 },
    { parent: "1-a" },
    { nonce: flipped(sealed.nonce) },
    { ct: flipped(sealed.ct) },
    { alg: "none" },
  ]) {
    assert.throws(() => database.open({ ...sealed, ...changed } as never), JSON.stringify(changed));
  }
  for (const other of [root.database("app", "other"), root.database("another", "notes")]) {
    assert.throws(() => other.open(sealed));
    assert.notEqual(other.id, database.id);
  }
});

test("a passphrase opens the root secret, and no other does", () => {
  const wrapped = root.wrap("correct horse");
  const again = RootSecret.unwrap(wrapped, "correct horse").database("app", "notes");
  assert.equal(again.id, database.id);
  assert.throws(() => RootSecret.unwrap(wrapped, "wrong horse"));
  assert.throws(() => RootSecret.unwrap({ ...wrapped, t: 3 }, "correct horse"));
  assert.throws(() => RootSecret.unwrap({ ...wrapped, m: 2 ** 40 }, "correct horse"), /unknown kind/);
});

test("who was let in reads, until the next epoch and no longer than granted", () => {
  const [friend, stranger] = [generateSharingKey(), generateSharingKey()];
  const grant = database.share(friend.publicKey, { purpose: "answering", expires: 1_000 });
  const travelled = Grant.fromJSON(JSON.parse(JSON.stringify(grant)));
  const shared = travelled.accept(friend, 999);
  const sealed = database.seal({ _id: "a", n: 1 });
  assert.equal(shared.open(sealed).n, 1);
  assert.equal(database.open(shared.seal({ _id: "b", n: 2 })).n, 2);
  assert.throws(() => travelled.accept(friend, 1_000), /over/);
  assert.throws(() => travelled.accept(stranger, 999));
  for (const forged of [{ purpose: "selling" }, { expires: 9_999 }, { db: root.database("a", "b").id }]) {
    assert.throws(() => Grant.fromJSON({ ...grant.toJSON(), ...forged }).accept(friend, 999));
  }
  const later = root.database("app", "notes", 1);
  assert.equal(later.open(sealed).n, 1, "what was sealed before stays readable to its owner");
  assert.equal(later.opaqueId("a"), database.opaqueId("a"), "and where it is");
  assert.throws(() => shared.open(later.seal({ _id: "a", n: 3 })), /epoch 1/);
});

test("hybrid encryption is that of RFC 9180, as another library does it", async () => {
  const suite = new CipherSuite({
    kem: KemId.DhkemX25519HkdfSha256,
    kdf: KdfId.HkdfSha256,
    aead: AeadId.Chacha20Poly1305,
  });
  const ours = generateSharingKey();
  const buffer = (bytes: Uint8Array) => Uint8Array.from(bytes).buffer;
  const info = utf8("about");
  const publicKey = await suite.kem.deserializePublicKey(buffer(ours.publicKey));
  const theirs = await suite.seal({ recipientPublicKey: publicKey, info: buffer(info) }, buffer(utf8("one")));
  const received = { enc: new Uint8Array(theirs.enc), ct: new Uint8Array(theirs.ct) };
  assert.equal(text(openWith(ours.secretKey, info, received)), "one");
  const { enc, ct } = sealTo(ours.publicKey, info, utf8("two"));
  const recipientKey = await suite.kem.deserializePrivateKey(buffer(ours.secretKey));
  const opened = await suite.open({ recipientKey, enc: buffer(enc), info: buffer(info) }, buffer(ct));
  assert.equal(text(new Uint8Array(opened)), "two");
});

test("lengths are hidden but for their order of magnitude", () => {
  for (const [length, padded] of [[0, 0], [1, 1], [9, 10], [100, 104], [1_000, 1_024], [1_025, 1_088]] as const) {
    assert.equal(padme(length), padded);
  }
  const seen = new Set<number>();
  for (let length = 0; length < 5_000; length++) {
    const content = new Uint8Array(length).fill(3);
    const padded = pad(content);
    seen.add(padded.length);
    assert.ok(padded.length <= (length + 4) * 1.12 + 1);
    assert.deepEqual(unpad(padded), content);
  }
  assert.ok(seen.size < 200);
  assert.throws(() => unpad(Uint8Array.of(1, 0, 0, 0, 5, 1)));
});

test("what is authenticated has one form", () => {
  assert.equal(text(canonical({ b: null, a: 1, "é": "\u2028\"" })), '{"a":1,"b":null,"é":"\u2028\\""}');
});

test("the vectors that are checked in are what this makes", () => {
  const path = new URL("../../vectors/envelope.json", import.meta.url);
  const checkedIn = JSON.parse(readFileSync(path, "utf8"));
  assert.deepEqual(make(), checkedIn);
  assert.equal(checkedIn.cases.length, cases.length);
});
