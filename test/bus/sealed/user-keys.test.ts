import { fromPublic, fromSeed } from "@nats-io/nkeys";
import { expect, test } from "vitest";
import { signerOf } from "../../../src/bus/sealed/signing.ts";
import { createUserKeys, userKeyOfSeed } from "../../../src/bus/sealed/user-keys.ts";

test("a new pair is one that the library of nkeys reads, signs with and checks", () => {
  const { seed, publicKey } = createUserKeys();
  expect(Buffer.from(seed).toString("latin1")).toMatch(/^SU[A-Z2-7]{56}$/);
  expect(publicKey).toMatch(/^U[A-Z2-7]{55}$/);
  expect(fromSeed(seed.slice()).getPublicKey()).toBe(publicKey);
  expect(userKeyOfSeed(seed)).toBe(publicKey);
  const nonce = Buffer.from("a server's nonce");
  expect(fromPublic(publicKey).verify(nonce, signerOf("ada", seed).sign(nonce))).toBe(true);
});

test("every pair is another one", () => {
  const made = Array.from({ length: 20 }, () => createUserKeys().publicKey);
  expect(new Set(made).size).toBe(made.length);
});
