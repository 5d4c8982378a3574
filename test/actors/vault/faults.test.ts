/** What goes wrong around the vault: a full disk, a bucket that does not answer, files that are gone, a name that is lost. */
import { chmodSync, copyFileSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { scryptKdf } from "../../../src/actors/vault/store/kdf.ts";
import { KvBucket } from "../../../src/bus/kv.ts";
import { Secret } from "../../../src/bus/sealed/secret.ts";
import { VgasError } from "../../../src/protocols/errors.ts";
import type { KeyView } from "../../../src/protocols/vault/keys.ts";
import type { Hello } from "../../../src/protocols/vault/messages.ts";
import { fillDisk } from "../../support/full-disk.ts";
import { useNats } from "../../support/nats.ts";
import { PASSPHRASE, startVault, type TestVault } from "../../support/vault.ts";
import { eventually, rejection } from "../../support/wait.ts";

interface Detail {
  readonly intended?: boolean;
}

const nats = useNats();
const TIMEOUT = { timeoutMs: 20_000 };
const KEY = "sk-test-0123456789abcdef";

async function started(...args: Parameters<typeof startVault> extends [unknown, ...infer Rest] ? Rest : never) {
  const vault = await startVault(nats, ...args);
  onTestFinished(() => vault.stop());
  return vault;
}

async function fresh(): Promise<TestVault> {
  const vault = await started();
  await vault.init();
  return vault;
}

function becomes(vault: TestVault, state: Hello["state"]): Promise<true> {
  return eventually(async () => {
    const now = await vault.hello().catch(() => undefined);
    return now?.state === state ? true : undefined;
  }, `the vault to be ${state}`);
}

function unseal(vault: TestVault, passphrase = PASSPHRASE, acceptRollback = false) {
  return vault
    .caller("admin")
    .call("unseal", (seal) => ({ sealed: seal(Secret.fromUtf8(passphrase)), acceptRollback }), TIMEOUT);
}

async function records(vault: TestVault): Promise<readonly Record<string, unknown>[]> {
  const { reply } = await vault.caller("admin").call("audit", { action: "list", after: 0, limit: 1_000 }, TIMEOUT);
  return (reply.records ?? []).map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function verdict(vault: TestVault) {
  return (await vault.caller("admin").call("audit", { action: "verify" }, TIMEOUT)).reply.verdict;
}

async function show(vault: TestVault): Promise<KeyView> {
  return (await vault.caller("admin").call("show", { provider: "openai", name: "default" }, TIMEOUT)).reply;
}

describe("P11: a trail that cannot be written", () => {
  test("at the start: the vault has failed, goes on by itself, and its start is in the trail", async () => {
    const first = await startVault(nats);
    await first.init();
    await first.stop();
    const empty = await fillDisk();
    const second = await started(first.dir);
    await becomes(second, "failed");
    expect(await rejection(unseal(second))).toMatchObject({ code: "AUDIT_FAILED" });
    empty();
    await becomes(second, "sealed");
    await unseal(second);
    expect((await records(second)).map(({ op }) => op)).toContain("start");
    expect(await verdict(second)).toMatchObject({ ok: true });
  });

  test("when a call ends: what it used is kept in the budget, and written down when there is room", async () => {
    let answer: ServerResponse | undefined;
    const server = createServer((request, response) => {
      request.resume();
      answer = response;
    }).listen(0, "127.0.0.1");
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const vault = await fresh();
    await new Promise<void>((resolve) => (server.listening ? resolve() : server.once("listening", resolve)));
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const budgets = [{ unit: "tokens", per: "day", limit: 50_000 }] as const;
    await vault.store("openai", KEY, { origins: [origin], allowPrivate: true, budgets });
    const open = {
      action: "open",
      ...{ provider: "openai", grant: vault.grant(), method: "POST", url: `${origin}/v1/x` },
      headers: [["content-type", "application/json"]] as [string, string][],
      body: Buffer.from('{"model":"gpt-4o-mini","max_tokens":20000}'),
    } as const;
    const caller = vault.caller("node-a");
    const { reply } = await caller.call("call", open, TIMEOUT);
    const response = await eventually(async () => answer, "the provider to be asked");
    const empty = await fillDisk();
    const usage = { prompt_tokens: 10_000, completion_tokens: 10_000 };
    response.setHeader("content-type", "application/json").end(JSON.stringify({ model: "gpt-4o-mini", usage }));
    await becomes(vault, "failed");
    expect(await rejection(caller.call("call", open, TIMEOUT))).toMatchObject({ code: "AUDIT_FAILED" });
    empty();
    await becomes(vault, "unsealed");
    const view = await eventually(async () => {
      const seen = await show(vault);
      return seen.budgets[0]?.reserved === 0 ? seen : undefined;
    }, "the end of the call to be written down");
    expect(view.usage).toMatchObject({ calls: 1, inputTokens: 10_000, outputTokens: 10_000 });
    expect(view.budgets[0]).toMatchObject({ used: 20_000 });
    await rejection(caller.call("call", { action: "read", call: reply.call ?? "", seq: 1 }, TIMEOUT)).catch(
      () => undefined,
    );
    expect(await verdict(vault)).toMatchObject({ ok: true });
  });

  test("before a write: what cannot be intended is not done", async () => {
    const vault = await fresh();
    await vault.store("openai", KEY);
    const empty = await fillDisk();
    const change = { provider: "openai", name: "default", settings: { lease: false } };
    expect(await rejection(vault.caller("admin").call("store", change, TIMEOUT))).toMatchObject({
      code: "AUDIT_FAILED",
    });
    empty();
    await becomes(vault, "unsealed");
    expect((await show(vault)).settings.lease).toBe(true);
  });

  test("after a write: the error says that it was done, and the record follows", async () => {
    const vault = await fresh();
    await vault.store("openai", KEY);
    const empty = await fillDisk({ after: 1 });
    const change = { provider: "openai", name: "default", settings: { lease: false } };
    expect(await rejection(vault.caller("admin").call("store", change, TIMEOUT))).toMatchObject({
      code: "AUDIT_FAILED",
      message: expect.stringContaining("was done"),
    });
    empty();
    await becomes(vault, "unsealed");
    expect((await show(vault)).settings.lease).toBe(false);
    const done = await eventually(async () => {
      const stores = (await records(vault)).filter(({ op, detail }) => op === "store" && !(detail as Detail).intended);
      return stores.length > 1 ? stores : undefined;
    }, "the record of what was done");
    expect(done.at(-1)).toMatchObject({ outcome: "ok", detail: { generation: 3 } });
  });

  test("a failed vault that is sealed is still a failed one until the trail can be written", async () => {
    const vault = await fresh();
    await vault.store("openai", KEY);
    const empty = await fillDisk();
    expect(await rejection(vault.lease("full"))).toMatchObject({ code: "AUDIT_FAILED" });
    expect(await rejection(vault.caller("admin").call("seal", {}, TIMEOUT))).toMatchObject({
      code: "AUDIT_FAILED",
      message: expect.stringContaining("was sealed"),
    });
    expect((await vault.hello()).state).toBe("failed");
    empty();
    await becomes(vault, "sealed");
    await unseal(vault);
    expect((await records(vault)).map(({ op }) => op)).toContain("seal");
  });
});

describe("the version that is written down", () => {
  test("P11: is the one that is given, also while a key is replaced", async () => {
    const vault = await fresh();
    await vault.store("openai", `${KEY}-1`);
    const admin = vault.caller("admin");
    const rotations = (async () => {
      for (let version = 2; version <= 10; version++) {
        const key = Secret.fromUtf8(`${KEY}-${version}`);
        await admin.call("rotate", (seal) => ({ provider: "openai", name: "default", sealed: seal(key) }), TIMEOUT);
      }
    })();
    let done = false;
    void rotations.then(() => {
      done = true;
    });
    const given: { version: number; key: string }[] = [];
    for (let i = 0; !done; i++) given.push(...(await Promise.all([vault.lease(`a${i}`), vault.lease(`b${i}`)])));
    await rotations;
    expect(new Set(given.map(({ version }) => version)).size).toBeGreaterThan(1);
    for (const { version, key } of given) expect(key).toBe(`${KEY}-${version}`);
    const written = (await records(vault)).filter(({ op }) => op === "lease").map(({ version }) => version);
    expect(given.map(({ version }) => version).sort()).toEqual(written.sort());
  });
});

describe("operators", () => {
  test("a write that is done is in the trail as done, also if its witness cannot be written", async () => {
    const vault = await fresh();
    const { getEntry } = KvBucket.prototype;
    onTestFinished(() => {
      KvBucket.prototype.getEntry = getEntry;
    });
    KvBucket.prototype.getEntry = () => Promise.reject(new VgasError("TIMEOUT", "injected"));
    await vault.store("openai", KEY);
    KvBucket.prototype.getEntry = getEntry;
    const stores = (await records(vault)).filter(({ op }) => op === "store");
    expect(stores).toMatchObject([{ detail: { intended: true } }, { outcome: "ok", version: 1 }]);
    await vault.caller("admin").call("seal", {}, TIMEOUT);
    await unseal(vault);
    expect((await vault.lease("after")).key).toBe(KEY);
  });

  test("unsealing what is open takes the right passphrase all the same, and is written down", async () => {
    const vault = await fresh();
    expect(await rejection(unseal(vault, "quite the wrong one"))).toMatchObject({ code: "WRONG_PASSPHRASE" });
    expect((await vault.hello()).state).toBe("unsealed");
    await unseal(vault);
    expect((await records(vault)).filter(({ op }) => op === "unseal")).toMatchObject([
      { outcome: "refused" },
      { outcome: "ok" },
    ]);
  });

  test("a vault that is lost is not made anew without a word", async () => {
    const first = await startVault(nats);
    await first.init();
    await first.store("openai", KEY);
    await first.stop();
    for (const file of ["vault.bin", "vault.prev.bin"]) rmSync(join(first.dir, file));
    const second = await started(first.dir);
    expect(await second.hello()).toMatchObject({ state: "failed", why: expect.stringContaining("trail") });
    expect(await rejection(second.init())).toMatchObject({ code: "VAULT_DAMAGED" });
    expect(await rejection(unseal(second))).toMatchObject({ code: "VAULT_DAMAGED" });
    // What was mended is seen by whoever asks next, without another start.
    renameSync(join(first.dir, "trail"), join(first.dir, "trail.old"));
    expect(await rejection(second.init())).toMatchObject({ code: "VAULT_ROLLED_BACK" });
    expect((await second.hello()).state).toBe("uninitialised");
    await second
      .caller("admin")
      .call("init", (seal) => ({ sealed: seal(Secret.fromUtf8(PASSPHRASE)), acceptRollback: true }), TIMEOUT);
    expect(await verdict(second)).toMatchObject({ ok: true });
  });

  test("a file that was put back is opened without another start, with its trail or before it", async () => {
    const first = await startVault(nats);
    await first.init();
    await first.store("openai", KEY);
    await first.stop();
    const [file, previous, trail] = ["vault.bin", "vault.prev.bin", "trail"].map((name) => join(first.dir, name)) as [
      string,
      string,
      string,
    ];
    const away = (path: string): void => renameSync(path, `${path}.away`);
    const back = (path: string): void => renameSync(`${path}.away`, path);
    away(file);
    away(previous);
    const second = await started(first.dir);
    expect(await rejection(unseal(second))).toMatchObject({ code: "VAULT_DAMAGED" });
    back(previous);
    back(file);
    await unseal(second);
    expect((await second.lease("back")).key).toBe(KEY);
    await second.stop();
    for (const path of [file, previous, trail]) away(path);
    const third = await started(first.dir);
    expect(await rejection(unseal(third))).toMatchObject({ code: "VAULT_UNINITIALISED" });
    back(previous);
    back(file);
    expect(await rejection(unseal(third))).toMatchObject({ code: "VAULT_ROLLED_BACK" });
    back(trail);
    await unseal(third);
    expect((await third.lease("again")).key).toBe(KEY);
    expect(await verdict(third)).toMatchObject({ ok: true });
  });

  test("what is wrong now is told, not what was wrong before", async () => {
    const first = await startVault(nats);
    await first.init();
    await first.stop();
    const file = join(first.dir, "vault.bin");
    writeFileSync(file, readFileSync(file).subarray(0, -1));
    chmodSync(file, 0o644);
    const second = await started(first.dir);
    expect(await rejection(unseal(second))).toMatchObject({ code: "CONFIG" });
    chmodSync(file, 0o600);
    expect(await rejection(unseal(second))).toMatchObject({ code: "VAULT_DAMAGED" });
    expect((await second.hello()).why).toContain("VAULT_DAMAGED");
  });

  test("a damaged file that was put right is opened without another start", async () => {
    const first = await startVault(nats);
    await first.init();
    await first.store("openai", KEY);
    await first.stop();
    const file = join(first.dir, "vault.bin");
    const whole = readFileSync(file);
    writeFileSync(file, whole.subarray(0, -1));
    const second = await started(first.dir);
    expect(await rejection(unseal(second))).toMatchObject({ code: "VAULT_DAMAGED" });
    copyFileSync(join(first.dir, "vault.prev.bin"), file);
    expect(await rejection(unseal(second))).toMatchObject({ code: "VAULT_ROLLED_BACK" });
    writeFileSync(file, whole);
    await unseal(second);
    expect((await second.lease("mended")).key).toBe(KEY);
  });

  test("a trail that is gone is not begun anew without a word, and the new one can be verified", async () => {
    const first = await startVault(nats);
    await first.init();
    await first.store("openai", KEY);
    expect(await verdict(first)).toMatchObject({ ok: true });
    await first.stop();
    rmSync(join(first.dir, "trail"), { recursive: true });
    const second = await started(first.dir);
    expect(await rejection(unseal(second))).toMatchObject({
      code: "VAULT_ROLLED_BACK",
      message: expect.stringContaining("trail"),
    });
    await unseal(second, PASSPHRASE, true);
    await second.lease("anew");
    const found = await verdict(second);
    expect(found).toMatchObject({ ok: true });
    expect(found?.earlier).toBeGreaterThan(0);
    expect(found?.checkpoints).toBeGreaterThan(0);
  });

  test("a file without its witness is opened only when told so, unless it is the first", async () => {
    const first = await startVault(nats);
    await first.init();
    await first.store("openai", KEY);
    await new KvBucket(first.host.bus, first.publisher, first.host.names.buckets.vault).delete("witness");
    await first.stop();
    const second = await started(first.dir);
    expect(await rejection(unseal(second))).toMatchObject({ code: "VAULT_ROLLED_BACK" });
    await unseal(second, PASSPHRASE, true);
    expect((await second.lease("accepted")).key).toBe(KEY);
  });
});

describe("a file that was put back", () => {
  test("gives no key at any moment of its unsealing", async () => {
    // The real one takes its time, which is the moment that is meant.
    const first = await startVault(nats, undefined, scryptKdf);
    await first.init();
    await first.store("openai", KEY);
    const file = join(first.dir, "vault.bin");
    copyFileSync(file, `${file}.old`);
    await first.caller("admin").call("delete", { provider: "openai", name: "default" }, TIMEOUT);
    await first.stop();
    copyFileSync(`${file}.old`, file);
    const second = await started(first.dir, scryptKdf);
    let refused = false;
    const refusal = rejection(unseal(second)).then((error) => {
      refused = true;
      return error;
    });
    let tries = 0;
    while (!refused) {
      expect(await rejection(second.lease(`t${tries++}`))).toMatchObject({ code: "VAULT_SEALED" });
      // In one process nothing of this waits for anything: the others must get their turn.
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await refusal).toMatchObject({ code: "VAULT_ROLLED_BACK" });
    expect(tries).toBeGreaterThan(0);
    expect((await second.hello()).state).toBe("sealed");
  });
});

describe("a name that is lost for a moment", () => {
  test("what was sealed stays sealed, also if it was sealed while the next life could not be opened", async () => {
    const vault = await started();
    await vault.init();
    await vault.store("openai", KEY);
    const key = join(vault.dir, "trail", "trail.key");
    renameSync(key, `${key}.away`);
    await vault.nextLife();
    await becomes(vault, "failed");
    await vault
      .caller("admin")
      .call("seal", {}, TIMEOUT)
      .catch(() => undefined);
    renameSync(`${key}.away`, key);
    await vault.nextLife();
    await becomes(vault, "sealed");
  });
});
