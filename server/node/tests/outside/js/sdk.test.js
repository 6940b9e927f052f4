// The official JavaScript SDK against a real node with the real small model.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import OpenAI from "openai";

import { MINILM, SMOL, eventually, start } from "./node.js";

// Few tokens in, few tokens out, and an answer that even the smallest model gets right.
const ECHO = {
  model: SMOL,
  messages: [
    { role: "system", content: "Repeat what the user says." },
    { role: "user", content: "One, two, three." },
  ],
  temperature: 0,
  max_completion_tokens: 12,
};
const ECHOED = "One, two, three.";

let node;
let client;

before(async () => {
  node = await start();
  client = node.client();
});

after(() => node.stop());

test("a chat is answered", async () => {
  const answer = await client.chat.completions.create(ECHO);
  assert.equal(answer.object, "chat.completion");
  assert.equal(answer.choices.length, 1);
  assert.equal(answer.choices[0].message.content, ECHOED);
  assert.equal(answer.choices[0].finish_reason, "stop");
  const { prompt_tokens, completion_tokens, total_tokens } = answer.usage;
  assert.equal(total_tokens, prompt_tokens + completion_tokens);
  assert.match(answer._request_id, /^req_/);
});

test("a streamed chat comes in pieces, its usage last", async () => {
  const whole = await client.chat.completions.create(ECHO);
  const stream = await client.chat.completions.create({
    ...ECHO,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  const last = chunks.pop();
  assert.deepEqual(last.choices, []);
  assert.deepEqual(last.usage, whole.usage);
  assert.ok(chunks.every((chunk) => chunk.usage === null));
  assert.ok(chunks.length > 3);
  assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), ECHOED);
  assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
});

test("the stream helper puts the answer together", async () => {
  const stream = client.chat.completions.stream({ ...ECHO, n: 2 });
  let pieces = 0;
  stream.on("content", () => pieces++);
  const final = await stream.finalChatCompletion();
  assert.deepEqual(final.choices.map((choice) => choice.message.content), [ECHOED, ECHOED]);
  assert.deepEqual(final.choices.map((choice) => choice.finish_reason), ["stop", "stop"]);
  assert.ok(pieces > 3);
});

test("a text is continued, whole and streamed", async () => {
  const asked = { model: SMOL, prompt: "One, two, three,", temperature: 0, max_tokens: 4 };
  const answer = await client.completions.create(asked);
  assert.equal(answer.choices[0].text, " four, five,");
  assert.equal(answer.choices[0].finish_reason, "length");
  let text = "";
  for await (const chunk of await client.completions.create({ ...asked, stream: true })) {
    text += chunk.choices[0].text;
  }
  assert.equal(text, answer.choices[0].text);
});

test("embeddings are the same vectors in both encodings", async () => {
  const asked = { model: MINILM, input: ["The cat sleeps.", "A kitten is napping."] };
  // Without a word the SDK asks for base64 and unpacks it.
  const packed = await client.embeddings.create(asked);
  const floats = await client.embeddings.create({ ...asked, encoding_format: "float" });
  assert.equal(packed.data.length, 2);
  for (const [i, { embedding, index }] of packed.data.entries()) {
    assert.equal(index, i);
    assert.equal(embedding.length, 384);
    const other = floats.data[i].embedding;
    assert.ok(embedding.every((x, j) => Math.abs(x - other[j]) < 1e-6));
  }
  assert.deepEqual(packed.usage, floats.usage);
});

test("models are listed and shown", async () => {
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  assert.ok(models.includes(SMOL) && models.includes(MINILM));
  assert.equal((await client.models.retrieve(SMOL)).id, SMOL);
});

test("errors are the SDK's own", async () => {
  await assert.rejects(client.chat.completions.create({ ...ECHO, model: "gpt-9" }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    assert.equal(error.param, "model");
    return true;
  });
  await assert.rejects(client.chat.completions.create({ ...ECHO, temperature: -1 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "temperature");
    assert.equal(error.type, "invalid_request_error");
    assert.match(error.requestID, /^req_/);
    return true;
  });
  const messages = [{ role: "user", content: "word ".repeat(9_000) }];
  const tooLong = { ...ECHO, stream: true, messages };
  await assert.rejects(client.chat.completions.create(tooLong), { code: "context_length_exceeded" });
});

test("an aborted stream frees the node", async () => {
  const controller = new AbortController();
  const asked = { ...ECHO, stream: true, max_completion_tokens: 4_000, n: 2, temperature: 2 };
  const stream = await client.chat.completions.create(asked, { signal: controller.signal });
  for await (const chunk of stream) {
    if (chunk.choices[0].delta.content) break;
  }
  controller.abort();
  const gauges = ["jobs_running", "engine_sequences_running", "engine_kv_tokens"];
  await eventually(async () => {
    const values = await Promise.all(gauges.map((name) => node.metric(`kwaainet_${name}`)));
    return values.every((value) => value === 0);
  });
  assert.equal((await client.chat.completions.create(ECHO)).choices[0].message.content, ECHOED);
});
