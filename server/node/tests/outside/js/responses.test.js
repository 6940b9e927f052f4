// The Responses API through the official JavaScript SDK and its stream helper.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { SMOL, eventually, start } from "./node.js";

const ECHO = {
  model: SMOL,
  instructions: "Repeat what the user says.",
  input: "One, two, three.",
  temperature: 0,
  max_output_tokens: 16,
};
const ECHOED = "One, two, three.";

let node;
let client;

before(async () => {
  node = await start();
  client = node.client();
});

after(() => node.stop());

test("a response is made, kept and followed on", async () => {
  const first = await client.responses.create(ECHO);
  assert.equal(first.output_text, ECHOED);
  const kept = await client.responses.retrieve(first.id);
  assert.equal(kept.status, "completed");
  assert.deepEqual(kept.output, first.output);
  const second = await client.responses.create({
    ...ECHO,
    input: "Four.",
    previous_response_id: first.id,
  });
  assert.ok(second.usage.input_tokens > first.usage.input_tokens);
  await client.responses.delete(first.id);
  await assert.rejects(client.responses.retrieve(first.id), { status: 404 });
});

test("n19: the stream helper is content with the events", async () => {
  const stream = client.responses.stream(ECHO);
  const kinds = [];
  for await (const event of stream) {
    assert.equal(event.sequence_number, kinds.length);
    kinds.push(event.type);
  }
  assert.equal(kinds[0], "response.created");
  assert.equal(kinds.at(-1), "response.completed");
  const final = await stream.finalResponse();
  assert.equal(final.output_text, ECHOED);
  // The same helper goes on from any event of a response that is kept.
  const again = client.responses.stream({ response_id: final.id, starting_after: 3 });
  const numbers = [];
  for await (const event of again) numbers.push(event.sequence_number);
  assert.deepEqual(numbers, kinds.map((_, number) => number).slice(4));
});

test("a background response is there when it is over", async () => {
  const begun = await client.responses.create({ ...ECHO, background: true });
  let over;
  await eventually(async () => {
    over = await client.responses.retrieve(begun.id);
    return over.status === "completed";
  });
  assert.equal(over.output_text, ECHOED);
});

test("a conversation is paged through", async () => {
  const conversation = await client.conversations.create({
    items: ["a", "b", "c"].map((content) => ({ role: "user", content, type: "message" })),
  });
  const texts = [];
  const pages = client.conversations.items.list(conversation.id, { limit: 2, order: "asc" });
  for await (const item of pages) {
    texts.push(item.content[0].text);
  }
  assert.deepEqual(texts, ["a", "b", "c"]);
});
