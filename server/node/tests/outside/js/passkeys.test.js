// A passkey's whole life in Chromium, with the browser's own virtual authenticator.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, test } from "node:test";

import { chromium } from "playwright-core";

import { start } from "./node.js";

const BROWSER = process.env.CHROMIUM ?? "/usr/bin/chromium";
// A browser that was named has to be there; without any these tests say why they did not run.
const skip =
  existsSync(BROWSER) || process.env.CHROMIUM
    ? false
    : `there is no ${BROWSER}: install Chromium, or name it in CHROMIUM`;
const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

let node;
let browser;
let page;
let devtools;

before(async () => {
  if (skip) return;
  node = await start();
  browser = await chromium.launch({ executablePath: BROWSER, args: ARGS });
  page = await browser.newPage();
  // Passkeys are for names, and this is the one that every machine has.
  await page.goto(node.url.replace("127.0.0.1", "localhost") + "/healthz");
  devtools = await page.context().newCDPSession(page);
  await devtools.send("WebAuthn.enable");
});

after(async () => {
  await browser?.close();
  await node?.stop();
});

async function authenticator() {
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return authenticatorId;
}

async function post(path, body, token) {
  return page.evaluate(
    async ([path, body, token]) => {
      const headers = { "content-type": "application/json" };
      if (token) {
        headers.authorization = `Bearer ${token}`;
      }
      const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
      return { status: answer.status, body: await answer.json() };
    },
    [path, body, token],
  );
}

/** Asks the browser, as a page would. */
async function answer(kind, options) {
  return page.evaluate(
    async ([kind, options]) => {
      const parse = {
        create: PublicKeyCredential.parseCreationOptionsFromJSON,
        get: PublicKeyCredential.parseRequestOptionsFromJSON,
      };
      const publicKey = parse[kind].call(PublicKeyCredential, options);
      return (await navigator.credentials[kind]({ publicKey })).toJSON();
    },
    [kind, options],
  );
}

async function register(token) {
  const begun = await post("/v1/auth/passkey/register/begin", {}, token);
  assert.equal(begun.status, 200, JSON.stringify(begun.body));
  const credential = await answer("create", begun.body.publicKey);
  return { ceremony: begun.body.ceremony, credential };
}

async function show(account) {
  const begun = await post("/v1/auth/passkey/login/begin", { account });
  assert.equal(begun.status, 200, JSON.stringify(begun.body));
  const credential = await answer("get", begun.body.publicKey);
  return { ceremony: begun.body.ceremony, credential };
}

test("a passkey makes an account, and opens it again", { skip }, async () => {
  const device = await authenticator();
  const made = await register();
  const session = await post("/v1/auth/passkey/register/complete", made);
  assert.equal(session.status, 200, JSON.stringify(session.body));
  const account = session.body.subject;
  assert.match(account, /^did:key:zDn/);
  assert.equal(session.body.tier, 1);
  const replayed = await post("/v1/auth/passkey/register/complete", made);
  assert.deepEqual([replayed.status, replayed.body.error.code], [401, "invalid_nonce"]);

  for (let times = 0; times < 2; times += 1) {
    const shown = await show(account);
    const again = await post("/v1/auth/passkey/login/complete", shown);
    assert.equal(again.status, 200, JSON.stringify(again.body));
    assert.equal(again.body.subject, account);
    const used = await post("/v1/auth/passkey/login/complete", shown);
    assert.equal(used.status, 401);
  }
  const altered = await show(account);
  const bytes = Buffer.from(altered.credential.response.signature, "base64url");
  bytes[bytes.length - 1] ^= 1;
  altered.credential.response.signature = bytes.toString("base64url");
  const refused = await post("/v1/auth/passkey/login/complete", altered);
  assert.deepEqual([refused.status, refused.body.error.code], [401, "invalid_passkey"]);
  await devtools.send("WebAuthn.removeVirtualAuthenticator", { authenticatorId: device });
});

test("an account has several passkeys, and none of another's", { skip }, async () => {
  const first = await authenticator();
  const made = await post("/v1/auth/passkey/register/complete", await register());
  const { token, subject } = made.body;
  await devtools.send("WebAuthn.removeVirtualAuthenticator", { authenticatorId: first });
  const second = await authenticator();
  const more = await register(token);
  const nobody = await post("/v1/auth/passkey/register/complete", more);
  assert.equal(nobody.status, 401, "whoever began it has to end it");
  const added = await post("/v1/auth/passkey/register/complete", await register(token), token);
  assert.equal(added.status, 200, JSON.stringify(added.body));
  assert.equal(added.body.subject, subject);
  const session = await post("/v1/auth/passkey/login/complete", await show(subject));
  assert.equal(session.body.subject, subject);
  const other = "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169";
  const unknown = await post("/v1/auth/passkey/login/begin", { account: other });
  assert.deepEqual([unknown.status, unknown.body.error.code], [404, "passkey_not_found"]);
  await devtools.send("WebAuthn.removeVirtualAuthenticator", { authenticatorId: second });
});
