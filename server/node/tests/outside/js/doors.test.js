// The official JavaScript clients of Anthropic and Ollama against a real node with the real small
// model.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import Anthropic from "@anthropic-ai/sdk";
import { Ollama } from "ollama";

import { SMOL, start } from "./node.js";

const SYSTEM = "Repeat what the user says.";
const SAID = { role: "user", content: "One, two, three." };
const ECHOED = "One, two, three.";
const MESSAGE = { model: SMOL, max_tokens: 12, temperature: 0, system: SYSTEM, messages: [SAID] };
const CHAT = {
  model: SMOL,
  messages: [{ role: "system", content: SYSTEM }, SAID],
  options: { temperature: 0, num_predict: 12 },
};

let node;
let claude;
let llama;

before(async () => {
  node = await start();
  claude = new Anthropic({ baseURL: node.url, apiKey: "none", maxRetries: 0 });
  llama = new Ollama({ host: node.url });
});

after(() => node.stop());

test("Anthropic: a message is answered, whole and streamed", async () => {
  const whole = await claude.messages.create(MESSAGE);
  assert.deepEqual(whole.content, [{ type: "text", text: ECHOED }]);
  assert.equal(whole.stop_reason, "end_turn");
  const stream = claude.messages.stream(MESSAGE);
  let text = "";
  stream.on("text", (piece) => (text += piece));
  const final = await stream.finalMessage();
  assert.equal(text, ECHOED);
  assert.deepEqual(final.content, whole.content);
  assert.equal(final.usage.output_tokens, whole.usage.output_tokens);
  const counted = await claude.messages.countTokens({ model: SMOL, system: SYSTEM, messages: [SAID] });
  assert.equal(counted.input_tokens, whole.usage.input_tokens + whole.usage.cache_read_input_tokens);
});

test("Anthropic: errors are the SDK's own", async () => {
  await assert.rejects(claude.messages.create({ ...MESSAGE, model: "nobody" }), (error) => {
    assert.ok(error instanceof Anthropic.NotFoundError);
    assert.equal(error.type, "not_found_error");
    assert.match(error.requestID, /^req_/);
    return true;
  });
});

test("Ollama: a chat is answered, whole and streamed", async () => {
  const whole = await llama.chat(CHAT);
  assert.equal(whole.message.content, ECHOED);
  assert.equal(whole.done_reason, "stop");
  let text = "";
  for await (const piece of await llama.chat({ ...CHAT, stream: true })) {
    text += piece.message.content;
  }
  assert.equal(text, ECHOED);
  const options = CHAT.options;
  const raw = await llama.generate({ model: SMOL, prompt: "One, two, three,", raw: true, options });
  assert.match(raw.response, /four/);
});

test("Ollama: models are listed, shown and pulled", async () => {
  assert.ok((await llama.list()).models.some((model) => model.name === SMOL));
  assert.deepEqual((await llama.show({ model: SMOL })).capabilities, ["completion", "tools"]);
  const lines = [];
  for await (const line of await llama.pull({ model: SMOL, stream: true })) lines.push(line.status);
  assert.equal(lines.at(-1), "success");
  assert.match((await llama.version()).version, /^\d+\.\d+\.\d+$/);
});

test("Ollama: errors are the client's own", async () => {
  await assert.rejects(llama.chat({ ...CHAT, model: "nobody" }), { status_code: 404 });
  await assert.rejects(llama.delete({ model: SMOL }), { status_code: 404 });
});
