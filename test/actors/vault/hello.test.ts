/** Whoever answers in the vault's place gets no secret: its node signs `hello` for a challenge (P10, P12). */
import { randomBytes } from "node:crypto";
import { expect, onTestFinished, test } from "vitest";
import { decode, encode } from "../../../src/bus/codec/codec.ts";
import { generateBoxKeys } from "../../../src/bus/sealed/sealed-box.ts";
import { Secret } from "../../../src/bus/sealed/secret.ts";
import { verifySignature } from "../../../src/bus/sealed/signing.ts";
import { type Ask, VaultCaller } from "../../../src/bus/sealed/vault-caller.ts";
import { systemClock } from "../../../src/protocols/clock.ts";
import { HELLO_DOMAIN, type Hello } from "../../../src/protocols/vault/messages.ts";
import { useNats } from "../../support/nats.ts";
import { PASSPHRASE, startVault, type TestVault } from "../../support/vault.ts";
import { rejection } from "../../support/wait.ts";

const nats = useNats();
const TIMEOUT = { timeoutMs: 20_000 };

async function fresh(): Promise<TestVault> {
  const vault = await startVault(nats);
  onTestFinished(() => vault.stop());
  return vault;
}

test.each([16, 64])("signs life, clock, box key and a challenge of %i bytes, as the protocol says", async (length) => {
  const vault = await fresh();
  const challenge = randomBytes(length);
  const hello = (await vault.ask({ type: "hello", challenge })) as Hello;
  const { boot, now, publicKey, signature } = hello;
  const signed = Buffer.concat([Buffer.from(HELLO_DOMAIN), encode({ boot, now, publicKey, challenge })]);
  expect(signature).toHaveLength(64);
  expect(verifySignature(vault.signers["system"]?.publicKey ?? "", signed, signature ?? Buffer.alloc(0))).toBe(true);
});

test("signs nothing without a challenge, and none that is too short or too long", async () => {
  const vault = await fresh();
  expect(await vault.ask({ type: "hello" })).not.toHaveProperty("signature");
  for (const challenge of [randomBytes(15), randomBytes(65), "a".repeat(32)])
    expect(await rejection(vault.ask({ type: "hello", challenge }))).toMatchObject({ code: "UNKNOWN_MESSAGE" });
});

test("a caller between which and the vault somebody stands sends no secret to who puts a key of his own in", async () => {
  const vault = await fresh();
  const evil = generateBoxKeys();
  const heard: unknown[] = [];
  const between: Ask = async (message) => {
    const answer = await vault.ask(message);
    if (message.type === "hello") return { ...(answer as Hello), publicKey: evil.publicKey };
    heard.push(decode(message["body"] as Uint8Array));
    return answer;
  };
  const signer = vault.signers["admin"];
  if (signer === undefined) throw new Error("there is no admin");
  const vaultKey = vault.signers["system"]?.publicKey;
  const caller = new VaultCaller({ ask: between, signer, clock: systemClock, vaultKey });
  const init = caller.call("init", (seal) => ({ sealed: seal(Secret.fromUtf8(PASSPHRASE)) }), TIMEOUT);
  expect(await rejection(init)).toMatchObject({ code: "PERMISSION_DENIED" });
  expect(heard).toEqual([]);
  await vault.init();
});
