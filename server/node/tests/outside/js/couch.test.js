// PouchDB against a node: what is replicated is equal on both sides, whatever comes in between. The number
// of documents of the large cases is KWAAINET_DOCUMENTS; 10,000 is what the node is held to.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import PouchDB from "pouchdb";
import PouchFind from "pouchdb-find";

import { Cable } from "./cable.js";
import { eventually, start } from "./node.js";

PouchDB.plugin(PouchFind);

const DOCUMENTS = Number(process.env.KWAAINET_DOCUMENTS ?? 1_000);
const LONG_MS = 60_000 + DOCUMENTS * 20;

let node;
const folder = mkdtempSync(join(tmpdir(), "pouchdb-"));
let made = 0;

before(async () => {
  node = await start({ returns: true });
});

after(async () => {
  await node.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A fresh database on this side. */
function here() {
  return new PouchDB(join(folder, `db${made++}`));
}

/** One on the node's. */
function there(name, options = {}) {
  return new PouchDB(`${node.url}/couch/${name}`, options);
}

/** Everything that a database says of itself: each leaf of each document with its history and attachments. */
async function everything(db) {
  const changes = await db.changes({ style: "all_docs" });
  const docs = changes.results.flatMap(({ id, changes }) => changes.map(({ rev }) => ({ id, rev })));
  const found = {};
  for (let at = 0; at < docs.length; at += 500) {
    const { results } = await db.bulkGet({
      docs: docs.slice(at, at + 500),
      revs: true,
      attachments: true,
    });
    for (const { docs } of results) {
      for (const { ok } of docs) {
        assert.ok(ok, "what was told of can be read");
        for (const attachment of Object.values(ok._attachments ?? {})) {
          delete attachment.revpos;
        }
        found[`${ok._id} ${ok._rev}`] = ok;
      }
    }
  }
  const { rows } = await db.allDocs();
  return { found, winners: Object.fromEntries(rows.map((row) => [row.id, row.value.rev])) };
}

async function assertEqual(...databases) {
  const [first, ...others] = await Promise.all(databases.map(everything));
  for (const other of others) {
    assert.deepEqual(other, first);
  }
  return first;
}

function documents(count, begin = 0) {
  return Array.from({ length: count }, (_, n) => ({
    _id: `doc-${String(begin + n).padStart(6, "0")}`,
    n: begin + n,
    text: `Document ${begin + n} — with “letters” beyond ASCII: ä, 中, 🦀`,
    nested: { list: [1, 2.5, null, true, "x"], empty: {} },
  }));
}

test("many documents are pushed, and pulled by another", { timeout: LONG_MS }, async (t) => {
  const [one, two, remote] = [here(), here(), there("many")];
  await one.bulkDocs(documents(DOCUMENTS));
  let began = Date.now();
  const pushed = await one.replicate.to(remote, { batch_size: 500 });
  t.diagnostic(`push: ${Math.round((DOCUMENTS / (Date.now() - began)) * 1000)} documents/s`);
  assert.deepEqual([pushed.ok, pushed.docs_written, pushed.doc_write_failures], [true, DOCUMENTS, 0]);
  began = Date.now();
  const pulled = await two.replicate.from(remote, { batch_size: 500 });
  t.diagnostic(`pull: ${Math.round((DOCUMENTS / (Date.now() - began)) * 1000)} documents/s`);
  assert.equal(pulled.docs_written, DOCUMENTS);
  assert.equal((await remote.info()).doc_count, DOCUMENTS);
  await assertEqual(one, remote, two);
  const again = await one.replicate.to(remote);
  assert.equal(again.docs_read, 0, "the checkpoint is remembered");
});

test("conflicts have the same winner everywhere", async () => {
  const [one, two, remote] = [here(), here(), there("conflicts")];
  const { rev } = await one.put({ _id: "a", text: "first" });
  await one.sync(remote);
  await two.sync(remote);
  let left = rev;
  for (let n = 0; n < 3; n++) {
    left = (await one.put({ _id: "a", _rev: left, side: "one", n })).rev;
  }
  await two.put({ _id: "a", _rev: rev, side: "two" });
  await one.put({ _id: "b", side: "one" });
  await two.put({ _id: "b", side: "two" });
  for (const db of [one, two, one, two]) {
    const result = await db.sync(remote);
    assert.equal(result.push.doc_write_failures + result.pull.doc_write_failures, 0);
  }
  await assertEqual(one, remote, two);
  const winner = await remote.get("a", { conflicts: true });
  assert.deepEqual([winner.side, winner.n, winner._conflicts.length], ["one", 2, 1]);
  assert.equal((await remote.get("b", { conflicts: true }))._conflicts.length, 1);
  // The conflict is resolved on one side, and with it on all.
  await one.remove("a", winner._conflicts[0]);
  await one.sync(remote);
  await two.sync(remote);
  assert.equal((await two.get("a", { conflicts: true }))._conflicts, undefined);
  await assertEqual(one, remote, two);
});

test("deletions come across, and documents that come back", async () => {
  const [one, two, remote] = [here(), here(), there("deletions")];
  const written = await one.bulkDocs(documents(20));
  await one.sync(remote);
  await two.sync(remote);
  for (const { id, rev } of written.slice(0, 10)) {
    await one.remove(id, rev);
  }
  await one.sync(remote);
  await two.sync(remote);
  assert.equal((await two.info()).doc_count, 10);
  const info = await remote.info();
  assert.deepEqual([info.doc_count, info.doc_del_count], [10, 10]);
  await assert.rejects(remote.get(written[0].id), { status: 404, reason: "deleted" });
  await two.put({ _id: written[0].id, text: "again" });
  await two.sync(remote);
  await one.sync(remote);
  assert.equal((await one.get(written[0].id)).text, "again");
  await assertEqual(one, remote, two);
});

test("attachments come across byte for byte", async () => {
  const [one, two, remote] = [here(), here(), there("attachments")];
  const large = randomBytes(1_500_000);
  const small = Buffer.from("Grüße\0", "utf8");
  await one.put({
    _id: "a",
    _attachments: {
      "large.bin": { content_type: "application/octet-stream", data: large },
      "folder/small ä.txt": { content_type: "text/plain; charset=utf-8", data: small },
    },
  });
  await one.replicate.to(remote);
  await two.replicate.from(remote);
  await assertEqual(one, remote, two);
  assert.ok(large.equals(await remote.getAttachment("a", "large.bin")));
  assert.ok(small.equals(await two.getAttachment("a", "folder/small ä.txt")));

  // Edited on the node itself, with stubs for what stays.
  let { _rev } = await remote.get("a");
  ({ rev: _rev } = await remote.putAttachment("a", "new.txt", _rev, Buffer.from("new"), "text/plain"));
  const doc = await remote.get("a");
  assert.equal(doc._attachments["large.bin"].stub, true);
  ({ rev: _rev } = await remote.put({ ...doc, title: "x" }));
  await remote.removeAttachment("a", "large.bin", _rev);
  await one.sync(remote);
  await two.sync(remote);
  assert.deepEqual(Object.keys((await two.get("a"))._attachments).sort(), ["folder/small ä.txt", "new.txt"]);
  await assertEqual(one, remote, two);

  const url = `${node.url}/couch/attachments/a/new.txt`;
  const part = await fetch(url, { headers: { range: "bytes=1-" } });
  assert.deepEqual([part.status, await part.text(), part.headers.get("content-range")], [206, "ew", "bytes 1-2/3"]);
  const inline = await remote.get("a", { attachments: true });
  assert.equal(Buffer.from(inline._attachments["new.txt"].data, "base64").toString(), "new");
  await assert.rejects(remote.put({ _id: "b", _attachments: { x: { stub: true } } }), { status: 412 });
});

test("live replication goes on through restarts and a crash", { timeout: 300_000 }, async () => {
  const [one, two] = [here(), here()];
  const options = { live: true, retry: true, back_off_function: () => 200 };
  const syncs = [one, two].map((db) => db.sync(there("live"), options));
  const errors = [];
  for (const sync of syncs) {
    sync.on("error", (error) => errors.push(error)).on("denied", (error) => errors.push(error));
  }
  const meet = async () => {
    await eventually(async () => {
      const [a, b] = await Promise.all([one.info(), two.info()]);
      return a.doc_count === b.doc_count && b.doc_count === written;
    }, 60_000);
  };
  let written = 0;
  const write = async (db, count) => {
    await db.bulkDocs(documents(count, written));
    written += count;
  };
  await write(one, 50);
  await meet();
  for (const end of ["stop", "crash", "stop"]) {
    await write(one, 30);
    const before = node;
    // While something is on its way.
    const ended = end === "stop" ? before.stop({ keep: true }) : before.crash();
    await write(two, 30);
    await ended;
    node = await start(before);
    await write(one, 10);
    await meet();
  }
  for (const sync of syncs) {
    const over = new Promise((resolve) => sync.on("complete", resolve));
    sync.cancel();
    await over;
  }
  assert.deepEqual(errors, []);
  await one.sync(there("live"));
  await assertEqual(one, there("live"), two);
});

test("live replication goes on through a cut of the network", { timeout: 120_000 }, async () => {
  const [remote, local] = [there("cut"), here()];
  const cable = await Cable.to(new URL(node.url));
  const far = new PouchDB(`${cable.url}/couch/cut`);
  const sync = local.sync(far, { live: true, retry: true, back_off_function: () => 200 });
  const errors = [];
  sync.on("error", (error) => errors.push(error)).on("denied", (error) => errors.push(error));
  let written = 0;
  const write = async (db, count) => {
    await db.bulkDocs(documents(count, written));
    written += count;
  };
  const meet = () =>
    eventually(async () => {
      const [a, b] = await Promise.all([local.info(), remote.info()]);
      return a.doc_count === b.doc_count && b.doc_count === written;
    }, 60_000);
  await write(local, 50);
  await meet();
  for (let round = 0; round < 3; round += 1) {
    await write(local, 200);
    // While something is on its way: nothing arrives any more, and nobody is told.
    cable.cut();
    await write(local, 20);
    await write(remote, 25);
    await sleep(1_000);
    const apart = await Promise.all([local.info(), remote.info()]);
    assert.notEqual(apart[0].doc_count, apart[1].doc_count);
    cable.mend();
    await meet();
  }
  const over = new Promise((resolve) => sync.on("complete", resolve));
  sync.cancel();
  await over;
  cable.close();
  assert.deepEqual(errors, []);
  await assertEqual(local, remote);
});

test("each call of PouchDB is answered as PouchDB expects it", async () => {
  const remote = there("calls");
  const local = here();
  for (const db of [remote, local]) {
    const { rev } = await db.put({ _id: "a", n: 1 });
    await assert.rejects(db.put({ _id: "a", n: 2 }), { status: 409, name: "conflict" });
    const second = (await db.put({ _id: "a", _rev: rev, n: 2 })).rev;
    const posted = await db.post({ n: 3 });
    assert.ok(posted.id && posted.ok);
    // Its id is anything, and may lie between those that are listed below.
    await db.remove(posted.id, posted.rev);
    await assert.rejects(db.get("missing"), { status: 404, reason: "missing" });
    assert.equal((await db.get("a", { rev })).n, 1);
    const full = await db.get("a", { revs: true, revs_info: true });
    assert.equal(full._revisions.start, 2);
    assert.deepEqual(full._revs_info, [
      { rev: second, status: "available" },
      { rev, status: "available" },
    ]);
    const open = await db.get("a", { open_revs: [rev, "7-nothing"] });
    // PouchDB asks for each by itself, so they come in any order.
    assert.deepEqual(new Set(open.map((one) => one.ok?.n ?? one.missing)), new Set([1, "7-nothing"]));
    assert.equal((await db.get("a", { open_revs: "all" })).length, 1);
    const diff = await db.revsDiff({ a: [second, "3-x"], z: ["1-y"] });
    assert.deepEqual([diff.a.missing, diff.z.missing], [["3-x"], ["1-y"]]);
    await db.bulkDocs(["c", "d", "e"].map((_id) => ({ _id, kind: _id < "e" ? "x" : "y" })));
    const ids = async (options) => (await db.allDocs(options)).rows.map((row) => row.id ?? row.error);
    assert.deepEqual(await ids({ startkey: "c", endkey: "d" }), ["c", "d"]);
    assert.deepEqual(await ids({ startkey: "e", endkey: "c", descending: true }), ["e", "d", "c"]);
    assert.deepEqual(await ids({ startkey: "c", endkey: "e", inclusive_end: false }), ["c", "d"]);
    assert.deepEqual(await ids({ startkey: "c", limit: 1, skip: 1 }), ["d"]);
    assert.deepEqual(await ids({ key: "d" }), ["d"]);
    assert.deepEqual(await ids({ keys: ["d", "nothing", "c"] }), ["d", "not_found", "c"]);
    const [row] = (await db.allDocs({ key: "a", include_docs: true })).rows;
    assert.deepEqual([row.doc.n, row.value.rev], [2, second]);
    const changed = async (options) => (await db.changes(options)).results.map(({ id }) => id);
    assert.deepEqual((await changed({ doc_ids: ["c", "a"] })).sort(), ["a", "c"]);
    assert.deepEqual(await changed({ selector: { kind: "y" } }), ["e"]);
    assert.deepEqual(await changed({ descending: true, limit: 1 }), ["e"]);
    assert.deepEqual(await changed({ since: "now" }), []);
    await db.createIndex({ index: { fields: ["kind"] } });
    const found = await db.find({ selector: { kind: { $gte: "x" } }, sort: ["kind"], fields: ["_id"] });
    assert.deepEqual(found.docs.map(({ _id }) => _id), ["c", "d", "e"]);
    assert.equal((await db.getIndexes()).indexes.length, 2);
    await db.compact();
    await assert.rejects(db.get("a", { rev }), { status: 404 });
    await db.put({ _id: "_local/here", n: 1 });
    assert.equal((await db.get("_local/here")).n, 1);
    const bulk = await db.bulkDocs([{ _id: "c", n: 1 }, { _id: "new" }]);
    assert.deepEqual(bulk.map((one) => one.ok ?? one.status), [409, true]);
    await assert.rejects(db.bulkDocs([{ _id: "_wrong" }]).then(([one]) => { throw one; }));
    const { rev: tombstone } = await db.remove("d", (await db.get("d"))._rev);
    assert.equal((await db.get("d", { rev: tombstone }))._deleted, true);
  }
  const name = "calls";
  await remote.destroy();
  const info = await fetch(`${node.url}/couch/${name}`);
  assert.deepEqual([info.status, (await info.json()).error], [404, "not_found"]);
});

test("a feed of changes wakes as soon as something is written", async () => {
  const remote = there("feeds");
  await remote.info();
  const seen = [];
  const feed = remote.changes({ live: true, include_docs: true, since: "now" });
  feed.on("change", ({ doc }) => seen.push(doc.n));
  await new Promise((resolve) => setTimeout(resolve, 200));
  for (let n = 0; n < 5; n++) {
    await there("feeds").put({ _id: `d${n}`, n });
    await eventually(() => seen.length === n + 1);
  }
  feed.cancel();
  assert.deepEqual(seen, [0, 1, 2, 3, 4]);
  for (const kind of ["continuous", "eventsource"]) {
    const answer = await fetch(`${node.url}/couch/feeds/_changes?feed=${kind}&timeout=300`);
    const text = await answer.text();
    assert.equal(text.match(/"id":"d\d"/g).length, 5, kind);
  }
});

test("keys keep people apart, and _security lets them in", { timeout: 120_000 }, async () => {
  const own = await start();
  try {
    const key = (name) => {
      const made = own.command("keys", "create", "--name", name, "--scope", "storage");
      return made.match(/kw_([^_\s]+)_[0-9a-f]{64}/);
    };
    const [[ada, adaId], [bob, bobId]] = [key("ada"), key("bob")];
    const at = (password) =>
      new PouchDB(`${own.url}/couch/notes`, { auth: { username: "x", password } });
    await at(ada).put({ _id: "a", whose: "ada" });
    await assert.rejects(new PouchDB(`${own.url}/couch/notes`).info(), { status: 401 });
    await at(bob).put({ _id: "a", whose: "bob" });
    assert.equal((await at(ada).get("a")).whose, "ada", "each has his own");
    await at(bob).destroy();
    const asBob = { headers: { authorization: `Bearer ${bob}` } };
    assert.equal((await fetch(`${own.url}/couch/notes/a`, asBob)).status, 404);
    const answer = await fetch(`${own.url}/couch/notes/_security`, {
      method: "PUT",
      headers: { authorization: `Bearer ${ada}`, "content-type": "application/json" },
      body: JSON.stringify({ admins: { names: [] }, members: { names: [`key:${bobId}`] } }),
    });
    assert.equal(answer.status, 200, `${adaId} may`);
    assert.equal((await at(bob).get("a")).whose, "ada");
    await at(bob).put({ _id: "b", whose: "bob" });
    const gone = await fetch(`${own.url}/couch/notes`, { method: "DELETE", ...asBob });
    assert.deepEqual([gone.status, (await gone.json()).error], [403, "forbidden"]);
  } finally {
    await own.stop();
  }
});

test("two nodes of one owner replicate through a client that stands between them", async () => {
  const other = await start();
  try {
    const [ours, theirs] = [there("pair"), new PouchDB(`${other.url}/couch/pair`)];
    await ours.bulkDocs(documents(300));
    await theirs.put({ _id: "theirs", _attachments: { x: { content_type: "a/b", data: Buffer.from("y") } } });
    const result = await PouchDB.sync(ours, theirs);
    assert.deepEqual([result.push.docs_written, result.pull.docs_written], [300, 1]);
    await assertEqual(ours, theirs);
  } finally {
    await other.stop();
  }
});
