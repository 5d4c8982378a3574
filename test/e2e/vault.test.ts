/** The vault as people have it: from the command line, with agents on another node, and with a key that must be nowhere. */
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TaskResult } from "../../src/protocols/result.ts";
import type { Usage } from "../../src/protocols/vault/keys.ts";
import type { SwarmState } from "../../src/swarm-view/health.ts";
import { vgas as inProcess } from "../cli/in-process.ts";
import { type Finished, vgas } from "../cli/support.ts";
import { FAKE_TEXT, FAKE_USAGE, FakeProviders } from "../support/fake-providers.ts";
import { FIXTURES, type Node, TestSwarm } from "../support/swarm.ts";
import { eventually } from "../support/wait.ts";

const swarm = new TestSwarm();
const MODULE = join(FIXTURES, "vault-agents.ts");
const PASSPHRASE = `passphrase-canary-${randomBytes(12).toString("hex")}`;
const OPENAI_KEY = `sk-canary-${randomBytes(24).toString("hex")}`;
const ANTHROPIC_KEY = `sk-ant-canary-${randomBytes(24).toString("hex")}`;
const ROTATED_KEY = `sk-rotated-canary-${randomBytes(24).toString("hex")}`;
const CANARIES = [PASSPHRASE, OPENAI_KEY, ANTHROPIC_KEY, ROTATED_KEY];

let master: Node;
let worker: Node;
let providers: FakeProviders;
/** Everything that crossed the bus, as text in which an ASCII key would be found. */
const captured: Buffer[] = [];
/** What the commands said. */
const said: string[] = [];
let passphraseFile: string;
const heaps = join(swarm.dir, "heaps");

beforeAll(async () => {
  providers = await FakeProviders.start();
  mkdirSync(heaps);
  // Nodes write a heap snapshot when they are told to.
  process.env["NODE_OPTIONS"] = `--heapsnapshot-signal=SIGUSR2 --diagnostic-dir=${heaps}`;
  master = await swarm.up("--agents", "0");
  const admin = await swarm.admin("system");
  await admin.bus.subscribe(">", ({ subject, data }) => {
    captured.push(Buffer.from(subject), Buffer.from(data));
  });
  worker = await swarm.join("worker", "--agents", "0", "--module", MODULE);
  passphraseFile = join(swarm.dir, "passphrase");
  writeFileSync(passphraseFile, PASSPHRASE, { mode: 0o600 });
});
afterAll(() => providers.stop());

/** Secrets are given as people give them, to a process of its own; what only asks runs in this one. */
async function vault(args: readonly string[], stdin?: string): Promise<Finished> {
  const command = ["vault", ...args, "--home", master.home];
  const secret = stdin !== undefined || args.some((arg) => arg.endsWith("-file"));
  const finished = await (secret ? vgas(command, stdin === undefined ? {} : { stdin }) : inProcess(command));
  said.push(finished.out, finished.err);
  return finished;
}

async function succeed(args: readonly string[], stdin?: string): Promise<Record<string, never>> {
  const { code, out, err } = await vault([...args, "--json"], stdin);
  expect({ args, code, err }).toEqual({ args, code: 0, err: "" });
  const lines = out.trim().split("\n").filter(Boolean);
  return JSON.parse(lines.length === 1 ? (lines[0] as string) : `[${lines.join(",")}]`);
}

async function run(kind: string, input: unknown, ...flags: readonly string[]): Promise<TaskResult> {
  const { out, err } = await inProcess([
    "submit",
    kind,
    JSON.stringify(input),
    "--wait",
    "--json",
    "--home",
    master.home,
    ...flags,
  ]);
  said.push(out, err);
  return JSON.parse(out) as TaskResult;
}

/** The last characters of a file. */
async function endOf(path: string): Promise<string> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const { buffer, bytesRead } = await file.read(Buffer.alloc(16), 0, 16, Math.max(0, size - 16));
    return buffer.subarray(0, bytesRead).toString().trimEnd();
  } finally {
    await file.close();
  }
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

describe("from the command line on a fresh home", () => {
  test("there is no vault at first, and everything says what to do", async () => {
    const { code, err } = await vault(["list"]);
    expect(code).toBe(77);
    expect(err).toContain("vgas vault init");
    expect(await run("lease-key", { waitMs: 1 })).toMatchObject({
      status: "failed",
      error: { code: "VAULT_UNINITIALISED" },
    });
  });

  test("init, store from stdin, list and show: last four characters and a fingerprint, never the key", async () => {
    expect(await succeed(["init", "--passphrase-file", passphraseFile])).toMatchObject({ generation: 1 });
    const allow = ["--origin", providers.origin, "--allow-private"];
    await succeed(["store", "openai", ...allow], `${OPENAI_KEY}\n`);
    await succeed(["store", "anthropic", "--no-lease", ...allow], ANTHROPIC_KEY);
    const shown = await succeed(["show", "openai"]);
    expect(shown).toMatchObject({ provider: "openai", name: "default", version: 1, last4: OPENAI_KEY.slice(-4) });
    const { out } = await vault(["list"]);
    expect(out).toMatch(/openai.*\n.*/);
    expect(out).toContain(OPENAI_KEY.slice(-4));
  });

  test("P10: an agent of another node leases the key, and only what it declared", async () => {
    const { status, output, usage, host } = await run("lease-key", null);
    expect({ status, host }).toEqual({ status: "ok", host: worker.hostId });
    expect(output).toMatchObject({ sha256: sha256(OPENAI_KEY) });
    expect(Object.keys(JSON.parse((output as { shown: string }).shown))).toEqual([
      "provider",
      "key",
      "version",
      "expiresAt",
    ]);
    expect(usage).toMatchObject({ leases: 1, calls: 0 });
    const undeclared = await run("lease-undeclared", null);
    expect(undeclared).toMatchObject({ status: "failed", error: { code: "GRANT_VOID" } });
  });

  test("the official clients call through it, streaming too, and what they used is exact", async () => {
    const base = providers.origin;
    const results = await Promise.all([
      run("ask-openai", { base }),
      run("ask-openai", { base, stream: true }),
      run("ask-anthropic", { base }),
      run("ask-anthropic", { base, stream: true }),
    ]);
    for (const result of results)
      expect(result).toMatchObject({ status: "ok", output: FAKE_TEXT, host: worker.hostId });
    const { openai, anthropic } = FAKE_USAGE;
    const anthropicInput = anthropic.input + anthropic.cacheCreation + anthropic.cacheRead;
    expect(results[1]?.usage).toMatchObject({
      calls: 1,
      errors: 0,
      inputTokens: openai.input,
      outputTokens: openai.output,
    });
    expect(results[3]?.usage).toMatchObject({ calls: 1, inputTokens: anthropicInput, outputTokens: anthropic.output });
    const rows = (await succeed(["usage", "--by", "provider"])) as unknown as {
      rows: { provider: string; usage: Usage }[];
    };
    const of = (provider: string): Usage | undefined => rows.rows.find((row) => row.provider === provider)?.usage;
    expect(of("openai")).toMatchObject({
      leases: 1,
      calls: 2,
      inputTokens: 2 * openai.input,
      outputTokens: 2 * openai.output,
    });
    expect(of("anthropic")).toMatchObject({
      calls: 2,
      inputTokens: 2 * anthropicInput,
      outputTokens: 2 * anthropic.output,
    });
    const total = results.reduce((sum, { usage }) => sum + ((usage as { costUsd: number }).costUsd ?? 0), 0);
    const ledger = (of("openai")?.costNanoUsd ?? 0) + (of("anthropic")?.costNanoUsd ?? 0);
    expect(Math.round(total * 1e9)).toBe(ledger);
    expect(ledger).toBeGreaterThan(0);
    // The key went where it belongs, in the provider's own header, and nowhere else.
    const authorizations = providers.requests.map(({ headers }) => headers["authorization"] ?? headers["x-api-key"]);
    expect(new Set(authorizations)).toEqual(new Set([`Bearer ${OPENAI_KEY}`, ANTHROPIC_KEY]));
  });

  test("a key that the provider refuses for now rests until it is replaced", async () => {
    const base = providers.origin;
    providers.refuseNext(429, { "retry-after": "3600" });
    // The client has its 429; the attempts after it find no key that may be used.
    expect(await run("ask-anthropic", { base })).toMatchObject({ status: "failed", error: { code: "KEY_RESTING" } });
    expect(await succeed(["show", "anthropic"])).toMatchObject({ resting: { status: 429 } });
    await succeed(["rotate", "anthropic"], ANTHROPIC_KEY);
    expect(await run("ask-anthropic", { base })).toMatchObject({ status: "ok", output: FAKE_TEXT });
  });

  test("rotate and rekey while in use: the new version and the new passphrase count", async () => {
    await succeed(["rotate", "openai"], ROTATED_KEY);
    expect(await succeed(["show", "openai"])).toMatchObject({ version: 2, last4: ROTATED_KEY.slice(-4) });
    expect((await run("lease-key", null)).output).toMatchObject({ sha256: sha256(ROTATED_KEY) });
    await succeed(["rotate"]);
    const newFile = join(swarm.dir, "new-passphrase");
    writeFileSync(newFile, `${PASSPHRASE}-new`, { mode: 0o600 });
    await succeed(["rekey", "--passphrase-file", passphraseFile, "--new-passphrase-file", newFile]);
    expect((await run("lease-key", null)).output).toMatchObject({ sha256: sha256(ROTATED_KEY) });
    await succeed(["seal"]);
    const old = await vault(["unseal", "--passphrase-file", passphraseFile]);
    expect(old.code).toBe(77);
    expect(old.err).toContain("passphrase");
    await succeed(["unseal", "--passphrase-file", newFile]);
    passphraseFile = newFile;
  });

  test("seal stops what wants a key, as retryable; unsealed, it goes on", async () => {
    await succeed(["seal"]);
    expect(await run("lease-key", { waitMs: 1 })).toMatchObject({ status: "failed", error: { code: "VAULT_SEALED" } });
    const waiting = run("lease-key", { waitMs: 30_000 });
    await eventually(async () => {
      const { out } = await inProcess(["status", "--json", "--home", master.home]);
      return (JSON.parse(out) as SwarmState).vault?.state === "sealed" || undefined;
    }, "status to say that the vault is sealed");
    await succeed(["unseal", "--passphrase-file", passphraseFile]);
    expect(await waiting).toMatchObject({ status: "ok", output: { sha256: sha256(ROTATED_KEY) } });
  });

  test("audit verify recomputes all of it", async () => {
    expect(await succeed(["audit", "verify"])).toMatchObject({ ok: true });
    const { out } = await vault(["audit", "list", "--limit", "1000"]);
    for (const op of ["init", "store", "lease", "call", "call-end", "rotate", "rekey", "seal", "unseal"])
      expect(out).toContain(op);
  });

  test("a node that is killed comes back sealed, or unsealed by its source, with its keys and counts", async () => {
    const before = await succeed(["show", "openai"]);
    await master.kill("SIGKILL");
    master = await swarm.up("--agents", "0", "--vault-unlock", `file:${passphraseFile}`);
    expect(await succeed(["status"])).toMatchObject({ state: "unsealed" });
    expect(await succeed(["show", "openai"])).toMatchObject({ version: 2, usage: before["usage"] });
    await eventually(
      async () => ((await run("lease-key", { waitMs: 30_000 })).status === "ok" ? true : undefined),
      "a lease after the restart",
    );
    expect(await succeed(["audit", "verify"])).toMatchObject({ ok: true });
  });
});

describe("P10: the key is nowhere", () => {
  const holders = (where: string, bytes: Buffer): readonly string[] =>
    CANARIES.flatMap((canary, i) =>
      [canary, Buffer.from(canary).toString("base64").slice(0, 40), Buffer.from(canary).toString("hex")].some((form) =>
        bytes.includes(form),
      )
        ? [`canary ${i} in ${where}`]
        : [],
    );

  test("in no file below any home but the passphrase's own, JetStream's and the trail included", () => {
    const files = readdirSync(swarm.dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const names = files
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((name) => !name.endsWith("passphrase"));
    expect(names.some((name) => name.endsWith(".blk"))).toBe(true);
    expect(names.some((name) => name.endsWith(".jsonl"))).toBe(true);
    expect(names.flatMap((name) => holders(name, readFileSync(name)))).toEqual([]);
  });

  test("in no message on the bus, no log, and nothing that a command said", () => {
    expect(captured.length).toBeGreaterThan(100);
    expect(captured.flatMap((bytes) => holders("a message", bytes))).toEqual([]);
    expect(holders("a log", Buffer.from(master.log() + worker.log()))).toEqual([]);
    expect(said.flatMap((text) => holders("what a command said", Buffer.from(text)))).toEqual([]);
  });

  test("in no command line and no environment of a process of the swarm", async () => {
    const pids = [master.child.pid, worker.child.pid, swarm.brokerPid()].filter((pid) => pid !== undefined);
    expect(pids).toHaveLength(3);
    const places = pids.flatMap((pid) => [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`]);
    expect(places.flatMap((place) => holders(place, readFileSync(place)))).toEqual([]);
  });

  test("in no heap of a node, once what used it is done", async () => {
    // Used both ways by this life of the nodes; a snapshot collects garbage first.
    await run("ask-openai", { base: providers.origin });
    await run("lease-key", null);
    for (const { child } of [master, worker]) {
      child.kill("SIGUSR2");
      const snapshot = await eventually(async () => {
        const name = readdirSync(heaps).find((file) => file.includes(`.${child.pid}.`));
        if (name === undefined || !(await endOf(join(heaps, name))).endsWith("]}")) return undefined;
        return readFileSync(join(heaps, name));
      }, "a heap snapshot");
      expect(snapshot.includes("vgas")).toBe(true);
      expect(holders(`the heap of ${child.pid}`, snapshot)).toEqual([]);
    }
  });
});
