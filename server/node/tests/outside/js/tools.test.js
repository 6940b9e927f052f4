// The helpers of the official JavaScript SDK for tools and typed answers, against a real node.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

import { SMOL, start } from "./node.js";

const ASKED = {
  model: SMOL,
  messages: [{ role: "user", content: "What is the weather in Rome?" }],
  temperature: 0,
  max_completion_tokens: 200,
};
const Weather = z.object({ city: z.enum(["Rome", "Oslo"]), tomorrow: z.boolean() });
const Sky = z.object({ colour: z.enum(["blue", "grey"]), isDay: z.boolean() });
// Named, so that the helper asks once and does not go on for as long as the model likes to call.
const NAMED = { type: "function", function: { name: "weather" } };

let node;
let client;

before(async () => {
  node = await start();
  client = node.client();
});

after(() => node.stop());

/** The tool, and what it was called with. */
function weather() {
  const seen = [];
  const tool = zodFunction({
    name: "weather",
    description: "Tells the weather in a city.",
    parameters: Weather,
    function: (args) => {
      seen.push(args);
      return { sky: "clear" };
    },
  });
  return { tool, seen };
}

for (const stream of [false, true]) {
  test(`runTools calls the function${stream ? " of a streamed answer" : ""}`, async () => {
    const { tool, seen } = weather();
    const runner = client.chat.completions.runTools({
      ...ASKED,
      stream,
      tools: [tool],
      tool_choice: NAMED,
    });
    const call = await runner.finalFunctionToolCall();
    assert.equal(call.name, "weather");
    assert.ok(seen.length > 0);
    for (const args of seen) assert.deepEqual(Weather.parse(args), args);
    assert.deepEqual(JSON.parse(await runner.finalFunctionToolCallResult()), { sky: "clear" });
    const roles = runner.messages.map((message) => message.role);
    assert.deepEqual(roles.slice(0, 3), ["user", "assistant", "tool"]);
  });
}

test("results that runTools sends back are read", async () => {
  const { tool } = weather();
  const runner = client.chat.completions.runTools({
    ...ASKED,
    tools: [tool],
    tool_choice: NAMED,
  });
  await runner.done();
  const { messages } = runner;
  const answer = await client.chat.completions.create({
    ...ASKED,
    messages,
    tools: [tool],
    tool_choice: "none",
    max_completion_tokens: 16,
  });
  assert.ok(answer.choices[0].message.content);
});

test("the stream helper tells of calls and gives their arguments", async () => {
  const { tool } = weather();
  const asked = { ...ASKED, tools: [tool], tool_choice: NAMED };
  const stream = client.chat.completions.stream(asked);
  let pieces = "";
  const done = [];
  stream.on("tool_calls.function.arguments.delta", (event) => {
    if (event.index === 0) pieces += event.arguments_delta;
  });
  stream.on("tool_calls.function.arguments.done", (event) => done.push(event));
  const final = await stream.finalChatCompletion();
  const [choice] = final.choices;
  assert.equal(choice.finish_reason, "tool_calls");
  assert.equal(choice.message.content, null);
  assert.equal(done[0].name, "weather");
  assert.equal(pieces, done[0].arguments);
  const call = choice.message.tool_calls[0];
  assert.match(call.id, /./);
  assert.deepEqual(Weather.parse(call.function.parsed_arguments), JSON.parse(pieces));
});

test("zodResponseFormat gives a typed answer, whole and streamed", async () => {
  const asked = { ...ASKED, response_format: zodResponseFormat(Sky, "sky") };
  const whole = await client.chat.completions.parse(asked);
  const { parsed } = whole.choices[0].message;
  assert.deepEqual(Sky.parse(parsed), parsed);

  const stream = client.chat.completions.stream(asked);
  const final = await stream.finalChatCompletion();
  assert.deepEqual(final.choices[0].message.parsed, parsed);
});
