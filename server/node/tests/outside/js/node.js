// A real node as a child process, for the tests in this folder. The models come from the user's
// cache, everything else lies in a temporary folder; nothing outlives the tests.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import OpenAI from "openai";

export const SMOL = "smollm2-135m-instruct";
export const MINILM = "all-minilm-l6-v2";

const ROOT = fileURLToPath(new URL("../../../../..", import.meta.url));
const BINARY = process.env.KWAAINET_BINARY ?? join(ROOT, "target/debug/kwaainet");
const READY = /is ready on (http:\/\/[0-9.]+:\d+) /;
const READY_MS = 60_000;
const STOP_MS = 40_000;

/**
 * Starts a node and waits until it is ready; one that goes on where another ended has its folder and URL. What is to go
 * on there later says `returns`: its port is none of those that the system gives to others meanwhile.
 */
export async function start({ folder, url, returns = false } = {}) {
  assert.ok(existsSync(BINARY), `there is no ${BINARY}: run 'make build' first`);
  folder ??= mkdtempSync(join(tmpdir(), "kwaainet-"));
  const port = returns ? await keptPort() : 0;
  const listen = url ? new URL(url).host : `127.0.0.1:${port}`;
  const args = ["serve", "--listen", listen, "--data-dir", join(folder, "data")];
  const stdio = ["ignore", "pipe", "pipe"];
  const child = spawn(BINARY, args, { env: environment(folder), stdio });
  const node = new Node(child, folder);
  try {
    node.url = await node.ready();
  } catch (error) {
    node.kill();
    throw error;
  }
  return node;
}

/** A port below those that Linux and others choose from (32,768 and up), which nobody listens on. */
async function keptPort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const server = createServer().listen(port, "127.0.0.1");
    const heard = once(server, "listening").then(() => true, () => false);
    if (await heard) {
      await new Promise((closed) => server.close(closed));
      return port;
    }
  }
}

/** The environment of a user who has the models and nothing else. */
function environment(folder) {
  const kept = Object.entries(process.env).filter(([name]) => !/^(KWAAINET_|XDG_)/.test(name));
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
  return { ...Object.fromEntries(kept), HOME: folder, XDG_CACHE_HOME: cache };
}

class Node {
  constructor(child, folder) {
    this.child = child;
    this.folder = folder;
    this.log = "";
    child.stderr.setEncoding("utf8").on("data", (text) => (this.log += text));
  }

  async ready() {
    const late = setTimeout(() => this.kill(), READY_MS);
    for await (const line of createInterface({ input: this.child.stdout })) {
      const found = READY.exec(line);
      if (found) {
        clearTimeout(late);
        this.child.stdout.resume();
        return found[1];
      }
    }
    throw new Error(`the node ended before it was ready:\n${this.log}`);
  }

  /** The official client, told where to go and nothing else. It must not hide a failure. */
  client() {
    return new OpenAI({ baseURL: `${this.url}/v1`, apiKey: "none", maxRetries: 0 });
  }

  /** The value of one metric without labels. */
  async metric(name) {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const line = text.split("\n").find((line) => line.startsWith(`${name} `));
    assert.ok(line, `there is no metric ${name}`);
    return Number(line.split(" ")[1]);
  }

  /** Runs a command of the same binary over the same data, and gives what it prints. */
  command(...args) {
    const all = [...args, "--data-dir", join(this.folder, "data")];
    return execFileSync(BINARY, all, { env: environment(this.folder), encoding: "utf8" });
  }

  /** Asks it to end, and checks that it ends well and had nothing to complain about. */
  async stop({ keep = false } = {}) {
    const late = setTimeout(() => this.kill(), STOP_MS);
    const ended = once(this.child, "exit");
    this.child.kill("SIGTERM");
    const [code, signal] = await ended;
    clearTimeout(late);
    if (!keep) {
      rmSync(this.folder, { recursive: true, force: true });
    }
    assert.deepEqual([code, signal], [0, null], this.log);
    assert.doesNotMatch(this.log, /\bERROR\b|panicked/);
  }

  kill() {
    this.child.kill("SIGKILL");
  }

  /** Ends it as a power cut does, as far as a process goes. */
  async crash() {
    const ended = once(this.child, "exit");
    this.kill();
    await ended;
  }
}

/** Looks again and again until it sees something true. */
export async function eventually(look, withinMs = 10_000) {
  const deadline = Date.now() + withinMs;
  while (!(await look())) {
    assert.ok(Date.now() < deadline, `not within ${withinMs} ms`);
    await sleep(50);
  }
}
