// Files, batches and vector stores through the official JavaScript SDK, whose forms look different.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { toFile } from "openai";

import { MINILM, SMOL, eventually, start } from "./node.js";

let node;
let client;

before(async () => {
  node = await start();
  client = node.client();
});

after(() => node.stop());

test("a file comes back and goes away", async () => {
  const text = "é\r\n--x".repeat(50_000);
  const made = await client.files.create({
    file: await toFile(Buffer.from(text), "näme \"1\".txt"),
    purpose: "user_data",
    expires_after: { anchor: "created_at", seconds: 3600 },
  });
  assert.equal(made.bytes, Buffer.byteLength(text));
  assert.equal(made.expires_at, made.created_at + 3600);
  assert.match(made.filename, /^näme .*1.*\.txt$/);
  const content = await client.files.content(made.id);
  assert.equal(await content.text(), text);
  const ids = [];
  for await (const file of client.files.list({ limit: 1 })) ids.push(file.id);
  assert.ok(ids.includes(made.id));
  assert.ok((await client.files.delete(made.id)).deleted);
  await assert.rejects(client.files.retrieve(made.id), { status: 404, code: "file_not_found" });
});

test("a batch runs", async () => {
  const body = { model: SMOL, prompt: "One, two, three,", max_tokens: 4, temperature: 0 };
  const line = { custom_id: "a", method: "POST", url: "/v1/completions", body };
  const file = await toFile(Buffer.from(JSON.stringify(line)), "in.jsonl");
  const input = await client.files.create({ file, purpose: "batch" });
  let batch = await client.batches.create({
    input_file_id: input.id,
    endpoint: "/v1/completions",
    completion_window: "24h",
  });
  await eventually(async () => {
    batch = await client.batches.retrieve(batch.id);
    return batch.status === "completed";
  });
  const output = await (await client.files.content(batch.output_file_id)).text();
  const answer = JSON.parse(output).response.body;
  const live = await client.completions.create(body);
  assert.equal(answer.choices[0].text, live.choices[0].text);
  await assert.rejects(client.batches.cancel(batch.id), { status: 409 });
});

test("a vector store is filled and searched", async () => {
  const store = await client.vectorStores.create({ name: "notes" });
  assert.equal(store.model, MINILM);
  const files = await Promise.all([
    toFile(Buffer.from("Cats hunt mice at night."), "cats.txt"),
    toFile(Buffer.from("Bread is baked from flour."), "bread.txt"),
  ]);
  const batch = await client.vectorStores.fileBatches.uploadAndPoll(store.id, { files });
  assert.equal(batch.file_counts.completed, 2);
  const found = await client.vectorStores.search(store.id, { query: "a pet", max_num_results: 1 });
  assert.equal(found.data[0].filename, "cats.txt");
  assert.ok((await client.vectorStores.delete(store.id)).deleted);
});
