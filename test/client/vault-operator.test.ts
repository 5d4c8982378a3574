import { beforeEach, expect, test } from "vitest";
import type { Bus } from "../../src/bus/bus.ts";
import { connectBus } from "../../src/bus/connection.ts";
import { Secret } from "../../src/bus/sealed/secret.ts";
import { signerOf } from "../../src/bus/sealed/signing.ts";
import { VaultOperator } from "../../src/client/vault-operator.ts";
import { VgasError } from "../../src/protocols/errors.ts";
import { useFakeVault } from "../cli/vault/fake-vault.ts";
import { rejection } from "../support/wait.ts";

const vault = useFakeVault();
const TIMEOUT = { timeoutMs: 10_000 };
let bus: Bus;
let seed: Uint8Array;
let vaultKey: string | undefined;

beforeEach(async () => {
  const admin = await vault.credentials.read("admin");
  seed = admin.seed;
  vaultKey = (await vault.credentials.find("system"))?.publicKey;
  bus = await connectBus({ url: vault.url, seed, inboxPrefix: admin.inboxPrefix, name: "test" });
  return () => bus.close();
});

test("asks the vault how it is, and for operations in the name of its credential", async () => {
  const operator = new VaultOperator({ bus, names: vault.names, seed, vaultKey });
  expect(await operator.hello(TIMEOUT)).toMatchObject({
    state: "unsealed",
    vaultId: "vault-of-the-test",
    host: "master",
  });
  const secret = Secret.fromUtf8("the passphrase");
  vault.answers = { unseal: { vaultId: "v", generation: 3 } };
  const reply = await operator.call("unseal", (seal) => ({ sealed: seal(secret) }), TIMEOUT);
  expect(reply).toEqual({ vaultId: "v", generation: 3 });
  expect(vault.done).toEqual([{ op: "unseal", user: "admin", args: {}, secret: "the passphrase", next: undefined }]);
});

test("a refusal is the vault's own error", async () => {
  const operator = new VaultOperator({ bus, names: vault.names, seed, vaultKey });
  vault.answers = { seal: new VgasError("PERMISSION_DENIED", "not you") };
  expect(await rejection(operator.call("seal", {}, TIMEOUT))).toMatchObject({
    code: "PERMISSION_DENIED",
    message: "not you",
  });
});

test("sends nothing to whoever answers in the vault's place", async () => {
  const worker = await vault.credentials.issueNode("worker");
  vault.signer = signerOf(worker.user, worker.seed);
  const operator = new VaultOperator({ bus, names: vault.names, seed, vaultKey });
  const secret = Secret.fromUtf8("the passphrase");
  const asked = [
    operator.hello(TIMEOUT),
    operator.call("list", {}, TIMEOUT),
    operator.call("unseal", (seal) => ({ sealed: seal(secret) }), TIMEOUT),
  ];
  for (const refused of await Promise.all(asked.map(rejection)))
    expect(refused).toMatchObject({ code: "PERMISSION_DENIED", message: expect.stringContaining("in its place") });
  expect(vault.done).toEqual([]);
});

test("without the vault's key it sends no secret, and all else", async () => {
  const operator = new VaultOperator({ bus, names: vault.names, seed, vaultKey: undefined });
  const secret = Secret.fromUtf8("the passphrase");
  const unseal = operator.call("unseal", (seal) => ({ sealed: seal(secret) }), TIMEOUT);
  expect(await rejection(unseal)).toMatchObject({ code: "CONFIG", message: expect.stringContaining("--role admin") });
  await operator.call("seal", {}, TIMEOUT);
  expect(vault.done.map(({ op }) => op)).toEqual(["seal"]);
});

test("without a credential it can only be asked how it is", async () => {
  const operator = new VaultOperator({ bus, names: vault.names, seed: undefined, vaultKey });
  expect(await operator.hello(TIMEOUT)).toMatchObject({ state: "unsealed" });
  expect(await rejection(operator.call("seal", {}, TIMEOUT))).toMatchObject({
    code: "PERMISSION_DENIED",
    message: expect.stringContaining("vgas connection --role admin"),
  });
  expect(vault.done).toEqual([]);
});

test("where no node runs a vault it says so at once", async () => {
  await vault.leave();
  try {
    const operator = new VaultOperator({ bus, names: vault.names, seed, vaultKey });
    for (const asked of [operator.hello(TIMEOUT), operator.call("list", {}, TIMEOUT)]) {
      expect(await rejection(asked)).toMatchObject({
        code: "UNDELIVERABLE",
        message: expect.stringContaining("`vgas up`"),
      });
    }
  } finally {
    await vault.listen();
  }
});
