// Vercel's AI SDK with its OpenAI provider, told nothing but where to go.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { createOpenAI } from "@ai-sdk/openai";
import { generateObject, generateText, streamObject, streamText, tool } from "ai";
import { z } from "zod";

import { SMOL, start } from "./node.js";

const Sky = z.object({ colour: z.enum(["blue", "grey"]), isDay: z.boolean() });
const Weather = z.object({ city: z.enum(["Rome", "Oslo"]), tomorrow: z.boolean() });
const PROMPT = "How is the weather in Rome?";

let node;
let asked;

before(async () => {
  node = await start();
  const provider = createOpenAI({ baseURL: `${node.url}/v1`, apiKey: "none" });
  asked = {
    model: provider.chat(SMOL),
    prompt: PROMPT,
    temperature: 0,
    maxOutputTokens: 200,
    maxRetries: 0,
  };
});

after(() => node.stop());

function weather() {
  return tool({
    description: "Tells the weather in a city.",
    inputSchema: Weather,
    execute: async () => ({ sky: "clear" }),
  });
}

test("text is streamed as it is made", async () => {
  const stream = streamText({ ...asked, maxOutputTokens: 12 });
  let text = "";
  for await (const piece of stream.textStream) text += piece;
  const whole = await generateText({ ...asked, maxOutputTokens: 12 });
  assert.equal(text, whole.text);
  assert.deepEqual((await stream.usage).totalTokens, whole.usage.totalTokens);
});

test("an object follows its schema, whole and streamed", async () => {
  const { object } = await generateObject({ ...asked, schema: Sky });
  assert.deepEqual(Sky.parse(object), object);
  const stream = streamObject({ ...asked, schema: Sky });
  for await (const partial of stream.partialObjectStream) assert.equal(typeof partial, "object");
  assert.deepEqual(await stream.object, object);
});

test("a tool is called and its result taken, whole and streamed", async () => {
  const options = {
    ...asked,
    tools: { weather: weather() },
    toolChoice: { type: "tool", toolName: "weather" },
  };
  const whole = await generateText(options);
  assert.equal(whole.finishReason, "tool-calls");
  const [call] = whole.toolCalls;
  assert.deepEqual(Weather.parse(call.input), call.input);
  assert.deepEqual(whole.toolResults[0].output, { sky: "clear" });

  const stream = streamText(options);
  const kinds = [];
  for await (const part of stream.fullStream) {
    assert.notEqual(part.type, "error", String(part.error));
    kinds.push(part.type);
  }
  assert.ok(kinds.includes("tool-input-start") && kinds.includes("tool-input-delta"));
  assert.ok(kinds.includes("tool-call") && kinds.includes("tool-result"));
  assert.equal(await stream.finishReason, "tool-calls");
  assert.deepEqual((await stream.toolCalls)[0].input, call.input);
});
