// Words that are written through the sealing client must be found nowhere: not in the node's files, not in
// its log, not on the wire, not in a backup. A word that is written in the clear is found everywhere, so that
// the search is known to find.

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import PouchDB from "pouchdb";

import { Grant, RootSecret, generateSharingKey } from "../../../../../clients/js/storage/dist/src/index.js";
import { start } from "./node.js";

const folder = mkdtempSync(join(tmpdir(), "sealed-"));
let node;
let wire;

before(async () => {
  node = await start();
  wire = await tap(new URL(node.url).port);
});

after(async () => {
  wire.close();
  await node.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A way to the node that keeps all that goes over it. */
async function tap(port) {
  const seen = [];
  const server = createServer((client) => {
    const upstream = connect(Number(port), "127.0.0.1");
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      from.on("data", (bytes) => seen.push(bytes));
      from.on("error", () => to.destroy());
      from.pipe(to);
    }
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const url = `http://127.0.0.1:${server.address().port}`;
  return { url, bytes: () => Buffer.concat(seen), close: () => server.close() };
}

/** How bytes may look: as they are, in hexadecimal digits, in base64 at each of its three places. */
function shapes(word) {
  const bytes = Buffer.from(word);
  const base64 = [0, 1, 2].map((before) => {
    const shifted = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64");
    // The first and the last letters depend on what stands beside them.
    return shifted.slice(before === 0 ? 0 : before + 1, -4);
  });
  return [bytes, Buffer.from(bytes.toString("hex")), ...base64.map((text) => Buffer.from(text))];
}

/** Where a word is found. */
function found(word, places) {
  return Object.entries(places)
    .filter(([, bytes]) => shapes(word).some((shape) => bytes.includes(shape)))
    .map(([name]) => name);
}

function files(path) {
  return readdirSync(path).flatMap((name) => {
    const at = join(path, name);
    return statSync(at).isDirectory() ? files(at) : [at];
  });
}

async function places() {
  const backup = await (await fetch(`${node.url}/v1/storage/databases/sealed/export`)).text();
  const own = files(join(node.folder, "data")).map((path) => [path, readFileSync(path)]);
  return {
    ...Object.fromEntries(own),
    log: Buffer.from(node.log),
    wire: wire.bytes(),
    backup: Buffer.from(backup),
  };
}

test("no word of a sealed document is found anywhere", async () => {
  const words = ["kanarienvogel-id", "kanarienvogel-name", "kanarienvogel-value", "kanarienvogel-second"];
  const made = await fetch(`${node.url}/couch/sealed?mode=e2ee`, { method: "PUT" });
  assert.equal(made.status, 201);
  const root = RootSecret.generate();
  const keys = root.database("test", "sealed");
  const [one, two] = ["one", "two"].map((name) => new PouchDB(join(folder, name)));
  const remote = new PouchDB(`${wire.url}/couch/sealed`);

  const [id, name, value, second] = words;
  const { rev } = await one.put(keys.seal({ _id: id, [name]: value, list: [value] }));
  await one.put(keys.seal({ _id: "other", text: value.repeat(100) }));
  await one.sync(remote);
  await one.put(keys.seal({ _id: id, _rev: rev, [name]: second }));
  await one.sync(remote);
  await two.sync(remote);
  const opened = keys.open(await two.get(keys.opaqueId(id)));
  assert.equal(opened[name], second);

  // Somebody who was let in reads with keys of his own.
  const friend = generateSharingKey();
  const terms = { purpose: "test", expires: Date.now() + 60_000 };
  const grant = JSON.parse(JSON.stringify(keys.share(friend.publicKey, terms)));
  const shared = Grant.fromJSON(grant).accept(friend);
  assert.equal(shared.open(await two.get(shared.opaqueId(id)))[name], second);

  // Plain text does not come in, whichever way it takes.
  const plain = { _id: "plain", text: "words" };
  await assert.rejects(remote.put(plain), { status: 403 });
  await two.put(plain);
  const denied = [];
  const push = two.replicate.to(remote).on("denied", (error) => denied.push(error));
  await push.catch(() => {});
  assert.equal(denied.length, 1);
  assert.equal((await remote.info()).doc_count, 2);
  await two.remove(await two.get("plain"));

  const before = await places();
  for (const word of words) {
    assert.deepEqual(found(word, before), []);
  }
  const open = "offenes-wort-4711";
  await fetch(`${node.url}/couch/open?mode=public`, { method: "PUT" });
  await new PouchDB(`${wire.url}/couch/open`).put({ _id: "a", text: open });
  const places_of_it = found(open, await places());
  assert.ok(places_of_it.includes("wire"));
  assert.ok(places_of_it.some((path) => path.includes("storage.db")), "the search finds");
});
