/** The vault's one door on a real nats-server: who may do what, and what is refused (P10, P11, P12). */
import { randomBytes } from "node:crypto";
import { chmodSync, copyFileSync, mkdtempSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { encode } from "../../../src/bus/codec/codec.ts";
import { generateBoxKeys, openBox, sealBox, secretContext } from "../../../src/bus/sealed/sealed-box.ts";
import { Secret } from "../../../src/bus/sealed/secret.ts";
import { type Hello, REQUEST_DOMAIN } from "../../../src/protocols/vault/messages.ts";
import { OPERATION_NAMES, type OperationName } from "../../../src/protocols/vault/operations.ts";
import { useNats } from "../../support/nats.ts";
import { PASSPHRASE, startVault, type TestVault, VAULT_HOST } from "../../support/vault.ts";
import { eventually, rejection } from "../../support/wait.ts";

const nats = useNats();
const TIMEOUT = { timeoutMs: 20_000 };
const KEY = "sk-test-0123456789abcdef";

/** A vault of the test's own. */
async function fresh(): Promise<TestVault> {
  const vault = await startVault(nats);
  onTestFinished(() => vault.stop());
  await vault.init();
  return vault;
}

interface Fields {
  readonly boot?: string;
  readonly at?: number;
  readonly nonce?: Uint8Array;
  /** Whose key signs it. */
  readonly signer?: string;
}

/** A signed request as bytes on the bus, with whatever is wrong with it. */
async function message(vault: TestVault, user: string, op: string, args: object, fields: Fields = {}) {
  const hello = await vault.hello();
  const { boot = hello.boot, at = hello.now, nonce = randomBytes(16), signer = user } = fields;
  const body = encode({ v: 1, op, boot, at, nonce, args });
  const signature = vault.signers[signer]?.sign(Buffer.concat([Buffer.from(REQUEST_DOMAIN), body]));
  return { type: "operation", user, body, signature };
}

/** Arguments with which each operation succeeds, in an order in which all can. */
async function sequence(
  vault: TestVault,
  host: string,
): Promise<readonly (readonly [OperationName, (hello: Hello, nonce: Uint8Array) => object])[]> {
  const grant = (): Uint8Array =>
    vault.grant({ host, providers: ["openai"], task: `t-${randomBytes(4).toString("hex")}` });
  const box = (op: string, text: string) => (hello: Hello, nonce: Uint8Array) =>
    sealBox(hello.publicKey, Buffer.from(text), secretContext(op, hello.boot, nonce));
  const key = { provider: "openai", name: "second" };
  return [
    ["store", (hello, nonce) => ({ ...key, sealed: box("store", KEY)(hello, nonce), settings: {} })],
    ["show", () => key],
    ["list", () => ({})],
    ["lease", () => ({ provider: "openai", grant: grant(), publicKey: generateBoxKeys().publicKey })],
    [
      "call",
      () => ({
        action: "open",
        provider: "openai",
        grant: grant(),
        method: "GET",
        url: "https://api.openai.com/",
        headers: [],
      }),
    ],
    ["rotate", (hello, nonce) => ({ ...key, sealed: box("rotate", `${KEY}2`)(hello, nonce) })],
    [
      "rekey",
      (hello, nonce) => ({
        sealed: box("rekey", PASSPHRASE)(hello, nonce),
        next: box("rekey", PASSPHRASE)(hello, nonce),
      }),
    ],
    ["usage", () => ({ by: ["provider"] })],
    ["audit", () => ({ action: "verify" })],
    ["delete", () => key],
    ["seal", () => ({})],
    ["unseal", (hello, nonce) => ({ sealed: box("unseal", PASSPHRASE)(hello, nonce) })],
  ];
}

/** Does every operation but `init` as `user`, and says what became of each. */
async function tryAll(vault: TestVault, user: string, host: string): Promise<Record<string, string>> {
  const outcomes: Record<string, string> = {};
  for (const [op, argsOf] of await sequence(vault, host)) {
    const hello = await vault.hello();
    const nonce = randomBytes(16);
    const asked = await message(vault, user, op, argsOf(hello, nonce), { nonce });
    outcomes[op] = await vault.ask(asked).then(
      () => "ok",
      (error: { code: string }) => error.code,
    );
  }
  return outcomes;
}

describe("who may do what", () => {
  const denied = Object.fromEntries(
    OPERATION_NAMES.filter((op) => op !== "init").map((op) => [op, "PERMISSION_DENIED"]),
  );
  const all = Object.fromEntries(OPERATION_NAMES.filter((op) => op !== "init").map((op) => [op, "ok"]));
  const use = { lease: "ok", call: "ok" };

  test.each([
    ["system", VAULT_HOST, all],
    ["admin", "node-a", { ...all, lease: "PERMISSION_DENIED", call: "PERMISSION_DENIED" }],
    ["observer", "node-a", { ...denied, list: "ok", show: "ok", usage: "ok" }],
    ["client", "node-a", denied],
    ["node-a", "node-a", { ...denied, ...use }],
    ["dealer", "dealer", { ...denied, ...use }],
  ] as const)("P12: %s does exactly what its role allows", async (user, host, expected) => {
    const vault = await fresh();
    await vault.store("openai", KEY);
    if (user !== "system" && user !== "admin") await vault.store("openai", KEY, {}, "second");
    expect(await tryAll(vault, user, host)).toEqual(expected);
  });

  test.each(["client", "observer", "node-a", "dealer"])("P12: %s may not make a vault", async (user) => {
    const vault = await startVault(nats);
    onTestFinished(() => vault.stop());
    const hello = await vault.hello();
    expect(hello.state).toBe("uninitialised");
    const nonce = randomBytes(16);
    const sealed = sealBox(hello.publicKey, Buffer.from(PASSPHRASE), secretContext("init", hello.boot, nonce));
    const asked = await message(vault, user, "init", { sealed }, { nonce });
    expect(await rejection(vault.ask(asked))).toMatchObject({ code: "PERMISSION_DENIED" });
    expect((await vault.hello()).state).toBe("uninitialised");
  });

  test("an operation that the vault does not know, and fields that it does not take, are refused by name", async () => {
    const vault = await fresh();
    const unknown = vault.ask(await message(vault, "admin", "reveal", {}));
    expect(await rejection(unknown)).toMatchObject({
      code: "UNKNOWN_MESSAGE",
      message: expect.stringContaining("reveal"),
    });
    const wrong = vault.ask(await message(vault, "admin", "show", { provider: "a b", name: "x", extra: 1 }));
    expect(await rejection(wrong)).toMatchObject({ code: "INVALID", message: expect.stringContaining("provider") });
  });
});

describe("requests", () => {
  let vault: TestVault;
  beforeAll(async () => {
    vault = await startVault(nats);
    await vault.init();
  });
  afterAll(() => vault.stop());

  test("the same request is taken once", async () => {
    const asked = await message(vault, "admin", "list", {});
    expect(await vault.ask(asked)).toEqual({ keys: [] });
    expect(await rejection(vault.ask(asked))).toMatchObject({ code: "REPLAYED" });
  });

  test("a nonce is taken once, whatever it is used for", async () => {
    const nonce = randomBytes(16);
    await vault.ask(await message(vault, "admin", "list", {}, { nonce }));
    expect(await rejection(vault.ask(await message(vault, "admin", "usage", { by: [] }, { nonce })))).toMatchObject({
      code: "REPLAYED",
    });
  });

  test.each([-90_000, 90_000])("one that is %d ms off the vault's clock is refused", async (offMs) => {
    const asked = await message(vault, "admin", "list", {}, { at: Date.now() + offMs });
    expect(await rejection(vault.ask(asked))).toMatchObject({ code: "REPLAYED" });
  });

  test("one for another life of the vault is refused, as retryable", async () => {
    const asked = await message(vault, "admin", "list", {}, { boot: "another" });
    expect(await rejection(vault.ask(asked))).toMatchObject({ code: "VAULT_RESTARTED", retryable: true });
  });

  test.each([
    ["signed by another user", { signer: "node-a" }, "admin"],
    ["of a user that nobody knows", { signer: "admin" }, "stranger"],
  ])("one %s is refused", async (_, fields, user) => {
    const asked = await message(vault, user, "list", {}, fields);
    expect(await rejection(vault.ask(asked))).toMatchObject({ code: "PERMISSION_DENIED" });
  });

  test("one with any byte changed is refused", async () => {
    const asked = await message(vault, "admin", "list", {});
    for (let i = 0; i < asked.body.length; i += 7) {
      const body = Buffer.from(asked.body);
      body[i] = (body[i] as number) ^ 1;
      expect(await rejection(vault.ask({ ...asked, body }))).toMatchObject({ code: "PERMISSION_DENIED" });
    }
    // The one that was signed was never taken, so it still is.
    expect(await vault.ask(asked)).toEqual({ keys: [] });
  });

  test("P9: bytes that are no request are refused and change nothing", async () => {
    for (const body of [new Uint8Array(), Buffer.from([0xc1]), encode([]), encode({ v: 2 }), randomBytes(100)]) {
      const signature = vault.signers["admin"]?.sign(Buffer.concat([Buffer.from(REQUEST_DOMAIN), body]));
      const answer = vault.ask({ type: "operation", user: "admin", body, signature });
      expect(await rejection(answer)).toMatchObject({ code: "INVALID" });
    }
    expect(await vault.ask(await message(vault, "admin", "list", {}))).toEqual({ keys: [] });
  });
});

describe("grants", () => {
  let vault: TestVault;
  beforeAll(async () => {
    vault = await startVault(nats);
    await vault.init();
    await vault.store("openai", KEY);
    await vault.store("anthropic", KEY);
  });
  afterAll(() => vault.stop());

  const lease = (user: string, grant: Uint8Array, provider = "openai", publicKey = generateBoxKeys().publicKey) =>
    vault.caller(user).call("lease", { provider, grant, publicKey }, TIMEOUT);

  test("P10: a leased key opens with the requester's one-time key, bound to the request, and with nothing else", async () => {
    const keys = generateBoxKeys();
    const { reply, digest } = await lease("node-a", vault.grant({ task: "lease" }), "openai", keys.publicKey);
    expect(openBox(keys, reply.sealed, digest).toString()).toBe(KEY);
    expect(() => openBox(generateBoxKeys(), reply.sealed, digest)).toThrow();
    expect(() => openBox(keys, reply.sealed, randomBytes(32))).toThrow();
    expect(Buffer.from(reply.sealed).includes(Buffer.from(KEY))).toBe(false);
  });

  test.each([
    ["another node's", "node-b", {}, "dealer", "node-a"],
    ["for another provider", "node-a", { providers: ["anthropic"] }, "dealer", "provider"],
    ["expired", "node-a", { expiresAt: Date.now() - 1 }, "dealer", "ended"],
    ["signed by a worker", "node-a", {}, "node-a", "not signed by a dispatcher"],
    ["signed by a client", "node-a", {}, "client", "not signed by a dispatcher"],
    ["signed by an admin", "node-a", {}, "admin", "not signed by a dispatcher"],
  ])("one that is %s is void", async (_, user, fields, signer, why) => {
    expect(await rejection(lease(user, vault.grant(fields, signer)))).toMatchObject({
      code: "GRANT_VOID",
      message: expect.stringContaining(why),
    });
  });

  test("one with any byte changed is void", async () => {
    const grant = Buffer.from(vault.grant());
    for (let i = 0; i < grant.length; i += 11) {
      const changed = Buffer.from(grant);
      changed[i] = (changed[i] as number) ^ 1;
      expect(await rejection(lease("node-a", changed))).toMatchObject({ code: "GRANT_VOID" });
    }
  });

  test("one is void when the task has its result", async () => {
    const grant = vault.grant({ task: "done" });
    await lease("node-a", grant);
    await new Promise<void>((resolve) =>
      vault.results.store("default", "done", encode({}), { replyTo: undefined, traceparent: undefined }, () =>
        resolve(),
      ),
    );
    expect(await rejection(lease("node-a", grant))).toMatchObject({
      code: "GRANT_VOID",
      message: expect.stringContaining("result"),
    });
  });

  test("one is void when its attempt has ended, and when a later one has begun", async () => {
    const first = vault.grant({ task: "again" });
    await vault.attempts.write("default", { id: "again" }, { attempts: 1, ended: true });
    expect(await rejection(lease("node-a", first))).toMatchObject({ code: "GRANT_VOID" });
    await vault.attempts.write("default", { id: "again" }, { attempts: 2 });
    expect(await rejection(lease("node-a", first))).toMatchObject({
      code: "GRANT_VOID",
      message: expect.stringContaining("attempt 2"),
    });
    await lease("node-a", vault.grant({ task: "again", attempt: 2 }));
  });

  test("what is recorded of a task that had the same id before voids nothing", async () => {
    await vault.attempts.write("default", { id: "reused", submittedAt: 1_000 }, { attempts: 3, ended: true });
    await lease("node-a", vault.grant({ task: "reused", submittedAt: 2_000 }));
    expect(await rejection(lease("node-a", vault.grant({ task: "reused", submittedAt: 1_000 })))).toMatchObject({
      code: "GRANT_VOID",
    });
  });

  test.each([
    ["kinds", { kinds: ["other"] }],
    ["pools", { pools: ["other"] }],
    ["nodes", { nodes: ["node-b"] }],
  ])("a key that is for other %s is not given", async (_, settings) => {
    const provider = `p-${Object.keys(settings)[0]}`;
    await vault.store(provider, KEY, settings);
    const denied = lease("node-a", vault.grant({ task: provider, providers: [provider] }), provider);
    expect(await rejection(denied)).toMatchObject({ code: "PERMISSION_DENIED" });
  });

  test("a key that may not be leased is not, and no key at all is NOT_FOUND", async () => {
    await vault.store("closed", KEY, { lease: false });
    const grant = vault.grant({ providers: ["closed", "none"] });
    expect(await rejection(lease("node-a", grant, "closed"))).toMatchObject({ code: "PERMISSION_DENIED" });
    expect(await rejection(lease("node-a", grant, "none"))).toMatchObject({ code: "NOT_FOUND" });
  });

  test("a lease that cannot be sealed leaves its room in the budget", async () => {
    await vault.store("roomy", KEY, { budgets: [{ unit: "calls", per: "day", limit: 1 }] });
    const grant = vault.grant({ task: "roomy", providers: ["roomy"] });
    // A point of low order, for which every shared secret is zero.
    expect(await rejection(lease("node-a", grant, "roomy", new Uint8Array(32)))).toMatchObject({ code: "INVALID" });
    expect((await lease("node-a", grant, "roomy")).reply.key).toBe("default");
  });

  test("keys of a provider take turns, and a budget is never passed by a burst", async () => {
    for (const name of ["k1", "k2"])
      await vault.store("many", `${KEY}-${name}`, { budgets: [{ unit: "calls", per: "day", limit: 10 }] }, name);
    const tries = Array.from({ length: 60 }, (_, i) =>
      lease("node-a", vault.grant({ task: `many-${i}`, providers: ["many"] }), "many").then(
        ({ reply }) => reply.key,
        (error: { code: string }) => error.code,
      ),
    );
    const outcomes = await Promise.all(tries);
    const count = (what: string): number => outcomes.filter((outcome) => outcome === what).length;
    expect([count("k1"), count("k2"), count("BUDGET_EXCEEDED")]).toEqual([10, 10, 40]);
  });
});

describe("sealed, unsealed, and again", () => {
  test("a sealed vault gives nothing, says so as retryable, and goes on when it is unsealed", async () => {
    const vault = await fresh();
    await vault.store("openai", KEY);
    await vault.lease("before");
    await vault.caller("admin").call("seal", {}, TIMEOUT);
    expect(await rejection(vault.lease("sealed"))).toMatchObject({ code: "VAULT_SEALED", retryable: true });
    const wrong = vault
      .caller("admin")
      .call("unseal", (seal) => ({ sealed: seal(Secret.fromUtf8("wrong passphrase")) }), TIMEOUT);
    expect(await rejection(wrong)).toMatchObject({ code: "WRONG_PASSPHRASE" });
    await vault.caller("admin").call("unseal", (seal) => ({ sealed: seal(Secret.fromUtf8(PASSPHRASE)) }), TIMEOUT);
    await vault.lease("after");
  });

  test("while it is sealed nothing but sealing and unsealing is done, not even reading", async () => {
    const vault = await fresh();
    await vault.store("openai", KEY);
    await vault.caller("admin").call("seal", {}, TIMEOUT);
    const outcomes: Record<string, string> = {};
    for (const [op, argsOf] of await sequence(vault, VAULT_HOST)) {
      if (op === "unseal") continue;
      const hello = await vault.hello();
      const nonce = randomBytes(16);
      const asked = await message(vault, "system", op, argsOf(hello, nonce), { nonce });
      outcomes[op] = await vault.ask(asked).then(
        () => "ok",
        (error: { code: string }) => error.code,
      );
    }
    const refused = OPERATION_NAMES.filter((op) => op !== "init" && op !== "unseal" && op !== "seal");
    expect(outcomes).toEqual({ ...Object.fromEntries(refused.map((op) => [op, "VAULT_SEALED"])), seal: "ok" });
  });

  test("a new life is sealed, refuses what was signed for the old one, and keeps keys and counters", async () => {
    const first = await startVault(nats);
    await first.init();
    await first.store("openai", KEY);
    const grant = first.grant();
    const asked = { provider: "openai", grant, publicKey: generateBoxKeys().publicKey };
    await first.caller("node-a").call("lease", asked, TIMEOUT);
    const old = await message(first, "admin", "list", {});
    await first.stop();
    const second = await startVault(nats, first.dir);
    onTestFinished(() => second.stop());
    expect((await second.hello()).state).toBe("sealed");
    expect(await rejection(second.ask(old))).toMatchObject({ code: "VAULT_RESTARTED" });
    await second.vault.unlock(Secret.fromUtf8(PASSPHRASE));
    const { reply } = await second.caller("admin").call("show", { provider: "openai", name: "default" }, TIMEOUT);
    expect(reply.usage.leases).toBe(1);
    const { reply: verdict } = await second.caller("admin").call("audit", { action: "verify" }, TIMEOUT);
    expect(verdict.verdict).toMatchObject({ ok: true });
  });

  test("a host that was blocked and lost the name for a moment comes back unsealed", async () => {
    const vault = await fresh();
    await vault.store("openai", KEY);
    await vault.nextLife();
    await eventually(
      async () => ((await vault.hello()).state === "unsealed" ? true : undefined),
      "the next life of the vault to be open",
    );
    expect((await vault.lease("blocked")).key).toBe(KEY);
  });

  test("an older vault file that was put back is noticed, and opened only when told so", async () => {
    const first = await startVault(nats);
    await first.init();
    await first.store("openai", KEY);
    const file = join(first.dir, "vault.bin");
    copyFileSync(file, `${file}.old`);
    await first.store("anthropic", KEY);
    await first.stop();
    copyFileSync(`${file}.old`, file);
    const second = await startVault(nats, first.dir);
    onTestFinished(() => second.stop());
    expect(await rejection(second.vault.unlock(Secret.fromUtf8(PASSPHRASE)))).toMatchObject({
      code: "VAULT_ROLLED_BACK",
    });
    expect((await second.hello()).state).toBe("sealed");
    const accept = second
      .caller("admin")
      .call("unseal", (seal) => ({ sealed: seal(Secret.fromUtf8(PASSPHRASE)), acceptRollback: true }), TIMEOUT);
    await accept;
    const { reply } = await second.caller("admin").call("list", {}, TIMEOUT);
    expect(reply.keys.map(({ provider }) => provider)).toEqual(["openai"]);
  });
});

describe("the trail", () => {
  test("P11: without it no key is given, status says so, and the vault goes on by itself when it can be written", async () => {
    const vault = await fresh();
    await vault.store("openai", KEY);
    const segment = join(vault.dir, "trail", "00000001.jsonl");
    renameSync(segment, `${segment}.away`);
    expect(await rejection(vault.lease("failed"))).toMatchObject({ code: "AUDIT_FAILED", retryable: true });
    const hello = await vault.hello();
    expect(hello).toMatchObject({ state: "failed", why: expect.stringContaining("AUDIT_FAILED") });
    expect(await rejection(vault.lease("still failed"))).toMatchObject({ code: "AUDIT_FAILED" });
    renameSync(`${segment}.away`, segment);
    await eventually(
      async () => ((await vault.hello()).state === "unsealed" ? true : undefined),
      "the trail to be written again",
    );
    await vault.lease("after");
    const { reply } = await vault.caller("admin").call("audit", { action: "verify" }, TIMEOUT);
    expect(reply.verdict).toMatchObject({ ok: true });
    const { reply: shown } = await vault.caller("admin").call("show", { provider: "openai", name: "default" }, TIMEOUT);
    expect(shown.usage.leases).toBe(1);
  });

  test("P10 P11: every operation and every refusal of a known user is in it, and no secret", async () => {
    const vault = await fresh();
    await vault.store("openai", KEY);
    await tryAll(vault, "node-a", "node-a");
    await tryAll(vault, "client", "node-a");
    // Refusals are written at their own time: nobody waits for them.
    const records = await eventually(async () => {
      const list = { action: "list", after: 0, limit: 1_000 } as const;
      const { reply } = await vault.caller("admin").call("audit", list, TIMEOUT);
      const read = (reply.records ?? []).map(
        (line) => JSON.parse(line) as { op: string; outcome: string; who?: { user: string } },
      );
      return read.filter(({ who }) => who?.user === "client").length >= OPERATION_NAMES.length - 1 ? read : undefined;
    }, "the refusals of the client");
    const of = (user: string, outcome: string): string[] =>
      records.filter((record) => record.who?.user === user && record.outcome === outcome).map(({ op }) => op);
    expect(of("client", "refused").sort()).toEqual(OPERATION_NAMES.filter((op) => op !== "init").sort());
    expect(of("node-a", "ok")).toEqual(expect.arrayContaining(["lease", "call"]));
    expect(of("admin", "ok")).toEqual(expect.arrayContaining(["init", "store"]));
    const text = readdirSync(vault.dir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1"))
      .join("\n");
    expect(text).not.toContain(KEY);
    expect(text).not.toContain(PASSPHRASE);
  });

  test("strangers cannot fill the disk: their refusals are counted, not written one by one", async () => {
    const vault = await fresh();
    const asked = await message(vault, "stranger", "list", {}, { signer: "admin" });
    await Promise.all(Array.from({ length: 500 }, () => rejection(vault.ask(asked))));
    // Written at its own time: nobody waits for it.
    const counts = await eventually(async () => {
      const list = { action: "list", after: 0, limit: 1_000 } as const;
      const { reply } = await vault.caller("admin").call("audit", list, TIMEOUT);
      const found = (reply.records ?? []).filter((line) => JSON.parse(line).op === "refusals");
      return found.length > 0 ? found : undefined;
    }, "the count of the refusals");
    expect(counts.length).toBeLessThan(20);
  });
});

test("a vault directory that others can read is refused with what to do", async () => {
  const dir = mkdtempSync(join(nats.dir, "open-"));
  const made = await startVault(nats, dir);
  await made.init();
  await made.stop();
  chmodSync(join(dir, "vault.bin"), 0o644);
  const again = await startVault(nats, dir);
  onTestFinished(() => again.stop());
  const asked = again.ask(await message(again, "admin", "list", {}));
  expect(await rejection(asked)).toMatchObject({ code: "CONFIG", message: expect.stringContaining("chmod") });
});
