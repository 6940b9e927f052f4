// Signing in with what wallets' own libraries make, and credentials both ways with Digital Bazaar's.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { DataIntegrityProof } from "@digitalbazaar/data-integrity";
import * as Ed25519Multikey from "@digitalbazaar/ed25519-multikey";
import * as jcs from "@digitalbazaar/eddsa-jcs-2022-cryptosuite";
import * as vc from "@digitalbazaar/vc";
import { ed25519 } from "@noble/curves/ed25519.js";
import { createSignInMessageText } from "@solana/wallet-standard-util";
import { Wallet, encodeBase58 } from "ethers";
import { SiweMessage } from "siwe";

import { start } from "./node.js";

const V2 = "https://www.w3.org/ns/credentials/v2";
const MAINNET = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";

let node;
let origin;
let domain;

before(async () => {
  node = await start();
  origin = node.url;
  domain = new URL(origin).host;
});

after(() => node.stop());

async function ask(method, path, body, token) {
  const headers = { "content-type": "application/json" };
  if (token) {
    headers.authorization = `Bearer ${token}`;
  }
  const answer = await fetch(origin + path, { method, headers, body: body && JSON.stringify(body) });
  return { status: answer.status, body: await answer.json() };
}

async function post(path, body, token) {
  return ask("POST", path, body, token);
}

async function challenge(account) {
  const { status, body } = await post("/v1/auth/challenge", { account });
  assert.equal(status, 200, JSON.stringify(body));
  return body;
}

/** What a message says, each with one field changed. */
const CHANGES = [
  [/^(.*) wants/, "evil.example wants"],
  [/\n(0x|[1-9A-HJ-NP-Za-km-z])(.{8})/, (_, first, rest) => `\n${first}${[...rest].reverse().join("")}`],
  [/URI: .*/, "URI: https://evil.example/"],
  [/Chain ID: .*/, "Chain ID: 5"],
  [/Nonce: (.)/, "Nonce: Z"],
  [/Issued At: \d{4}/, "Issued At: 2020"],
  [/Sign in/, "Sign on"],
];

async function refusesChanges(make) {
  for (const [from, to] of CHANGES) {
    const { message, signature } = await make();
    const changed = message.replace(from, to);
    assert.notEqual(changed, message, `${from} is in it`);
    const refused = await post("/v1/auth/verify", { message: changed, signature });
    assert.ok([400, 401].includes(refused.status), `${from}: ${JSON.stringify(refused)}`);
  }
}

test("siwe's messages, signed by ethers, open a session once", async () => {
  const wallet = Wallet.createRandom();
  const account = `did:pkh:eip155:1:${wallet.address.toLowerCase()}`;
  const make = async () => {
    const { nonce } = await challenge(account);
    const message = new SiweMessage({
      domain,
      address: wallet.address,
      statement: "Sign in to the node.",
      uri: origin,
      version: "1",
      chainId: 1,
      nonce,
      resources: ["urn:example:x"],
    }).prepareMessage();
    return { message, signature: await wallet.signMessage(message) };
  };
  const signed = await make();
  const session = await post("/v1/auth/verify", signed);
  assert.equal(session.status, 200, JSON.stringify(session.body));
  assert.equal(session.body.subject, account);
  assert.equal(session.body.tier, 2);
  const me = await ask("GET", "/v1/identity/me", undefined, session.body.token);
  assert.equal(me.body.principal, account);
  const replayed = await post("/v1/auth/verify", signed);
  assert.deepEqual([replayed.status, replayed.body.error.code], [401, "invalid_nonce"]);
  await refusesChanges(make);
});

test("the node's own message is one that siwe reads", async () => {
  const wallet = Wallet.createRandom();
  const given = await challenge(`did:pkh:eip155:1:${wallet.address.toLowerCase()}`);
  const read = new SiweMessage(given.message);
  assert.equal(read.address, wallet.address);
  assert.equal(read.prepareMessage(), given.message);
  const signature = await wallet.signMessage(given.message);
  const verified = await read.verify({ signature, domain, nonce: given.nonce });
  assert.ok(verified.success);
  const session = await post("/v1/auth/verify", { message: given.message, signature });
  assert.equal(session.status, 200, JSON.stringify(session.body));
});

test("Solana's messages, as its wallets write them, open a session once", async () => {
  const { secretKey, publicKey } = ed25519.keygen();
  const address = encodeBase58("0x" + Buffer.from(publicKey).toString("hex"));
  const account = `did:pkh:solana:${MAINNET}:${address}`;
  const sign = (message) => {
    const signature = ed25519.sign(new TextEncoder().encode(message), secretKey);
    return "u" + Buffer.from(signature).toString("base64url");
  };
  const make = async (statement, chainId) => {
    const { nonce } = await challenge(account);
    const message = createSignInMessageText({
      domain,
      address,
      statement,
      uri: origin,
      version: "1",
      chainId,
      nonce,
      issuedAt: new Date().toISOString(),
    });
    return { message, signature: sign(message) };
  };
  for (const [statement, chain] of [
    ["Sign in", "mainnet"],
    [undefined, "solana:mainnet"],
    ["Sign in", undefined],
  ]) {
    const session = await post("/v1/auth/verify", await make(statement, chain));
    assert.equal(session.status, 200, JSON.stringify(session.body));
    assert.equal(session.body.subject, account);
  }
  await refusesChanges(() => make("Sign in", "mainnet"));
  const given = await challenge(account);
  const signed = { message: given.message, signature: sign(given.message) };
  assert.equal((await post("/v1/auth/verify", signed)).status, 200);
});

/** Whatever the libraries look up: the node resolves names, and nothing is fetched from anywhere else. */
async function documentLoader(url) {
  const [did, fragment] = url.split("#");
  if (did.startsWith("did:key:")) {
    const { body } = await ask("GET", `/v1/identity/resolve/${encodeURIComponent(did)}`);
    const document = body.didDocument;
    const method = document.verificationMethod.find((one) => one.id === url);
    const found = fragment
      ? { "@context": "https://w3id.org/security/multikey/v1", ...method }
      : document;
    return { contextUrl: null, documentUrl: url, document: found };
  }
  if (url.startsWith(origin)) {
    const { body } = await ask("GET", url.slice(origin.length));
    return { contextUrl: null, documentUrl: url, document: body };
  }
  return vc.defaultDocumentLoader(url);
}

const verifySuite = () => new DataIntegrityProof({ cryptosuite: jcs.createVerifyCryptosuite() });

async function issue(credential) {
  const issued = await post("/v1/credentials/issue", { credential });
  assert.equal(issued.status, 201, JSON.stringify(issued.body));
  return issued.body.verifiableCredential;
}

test("what the node issues, Digital Bazaar's library believes", async () => {
  const credential = await issue({
    "@context": [V2],
    type: ["VerifiableCredential"],
    name: "A member",
    credentialSubject: { id: "did:example:subject", name: "Zoë €" },
  });
  const checkStatus = async () => ({ verified: true });
  const verify = (credential) =>
    vc.verifyCredential({ credential, suite: verifySuite(), documentLoader, checkStatus });
  const good = await verify(credential);
  assert.ok(good.verified, JSON.stringify(good.error?.errors ?? good.error, null, 1));
  const changed = structuredClone(credential);
  changed.credentialSubject.name = "Zoe";
  assert.equal((await verify(changed)).verified, false);
  const list = await documentLoader(credential.credentialStatus.statusListCredential);
  const listed = await verify(list.document);
  assert.ok(listed.verified, JSON.stringify(listed.error?.errors ?? listed.error, null, 1));
});

test("what Digital Bazaar's library issues, the node believes", async () => {
  const key = await Ed25519Multikey.generate();
  const did = `did:key:${key.publicKeyMultibase}`;
  key.id = `${did}#${key.publicKeyMultibase}`;
  key.controller = did;
  const suite = new DataIntegrityProof({
    signer: key.signer(),
    cryptosuite: jcs.createSignCryptosuite(),
  });
  const credential = {
    "@context": [V2],
    type: ["VerifiableCredential"],
    issuer: did,
    credentialSubject: { id: "did:example:subject", name: "Zoë €" },
  };
  const signed = await vc.issue({ credential, suite, documentLoader });
  const verify = (verifiableCredential) => post("/v1/credentials/verify", { verifiableCredential });
  const good = await verify(signed);
  assert.deepEqual(good.body, { verified: true, errors: [] });
  const changed = structuredClone(signed);
  changed.credentialSubject.name = "Zoe";
  assert.equal((await verify(changed)).body.verified, false);

  const presentation = vc.createPresentation({ verifiableCredential: [signed], holder: did });
  const shown = await vc.signPresentation({
    presentation,
    suite: new DataIntegrityProof({ signer: key.signer(), cryptosuite: jcs.createSignCryptosuite() }),
    challenge: "c1",
    domain: "https://asker.example",
    documentLoader,
  });
  const verifyShown = async (challenge) => {
    const options = { challenge, domain: "https://asker.example" };
    const body = { verifiablePresentation: shown, options };
    return (await post("/v1/credentials/presentations/verify", body)).body;
  };
  assert.deepEqual(await verifyShown("c1"), { verified: true, errors: [] });
  assert.equal((await verifyShown("c2")).verified, false);
});

test("what the node shows, Digital Bazaar's library believes", async () => {
  const credential = await issue({ credentialSubject: { id: "did:example:subject", name: "Zoë" } });
  const options = { challenge: "c1", domain: "https://asker.example" };
  const asked = { presentation: { verifiableCredential: [credential] }, options };
  const { body } = await post("/v1/credentials/present", asked);
  const verified = await vc.verify({
    presentation: body.verifiablePresentation,
    suite: verifySuite(),
    documentLoader,
    checkStatus: async () => ({ verified: true }),
    ...options,
  });
  assert.ok(verified.verified, JSON.stringify(verified.error?.errors ?? verified.error, null, 1));
});
