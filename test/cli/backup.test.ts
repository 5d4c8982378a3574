/** `vgas backup` and `vgas restore`: a node that ran is moved with all that it has. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { launchNode } from "../support/node.ts";
import { TestSwarm } from "../support/swarm.ts";
import { eventually } from "../support/wait.ts";
import { vgas } from "./in-process.ts";
import { start } from "./support.ts";

const swarm = new TestSwarm();
const dir = mkdtempSync(join(tmpdir(), "vgas-backup-"));
afterAll(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));

const passphrase = join(dir, "passphrase");
const file = join(dir, "backup.tar.gz");
const restored = join(dir, "restored");

function on(home: string, ...args: readonly string[]) {
  return vgas([...args, "--home", home], { stdin: args.includes("store") ? "sk-canary-0123456789" : "" });
}

function dead(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return true;
  }
}

test("tasks, results, the vault and the id survive in a backup, and an older one opens", async () => {
  const { home } = swarm;
  writeFileSync(passphrase, "correct horse battery\n", { mode: 0o600 });
  const first = await swarm.up("--agents", "1");
  await on(home, "submit", "echo", '"kept"', "--id", "done", "--wait");
  await on(home, "submit", "nobody", "1", "--id", "waits");
  expect((await on(home, "vault", "init", "--passphrase-file", passphrase)).code).toBe(0);
  expect((await on(home, "vault", "store", "openai")).code).toBe(0);

  const running = await on(home, "backup", file);
  expect(running).toMatchObject({ code: 78, out: "" });
  expect(running.err).toContain(`vgas drain ${first.hostId} --force`);
  expect(await first.kill("SIGTERM")).toBe(0);

  const saved = await on(home, "backup", file, "--json");
  expect(saved).toMatchObject({ code: 0, err: "" });
  expect(JSON.parse(saved.out)).toMatchObject({ file, hostId: first.hostId });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const again = await on(home, "backup", file);
  expect(again).toMatchObject({ code: 1, out: "" });
  expect(again.err).toContain("--force");

  // What comes later is not in it: the vault's next generation neither.
  const second = await swarm.up("--agents", "1", "--vault-unlock", `file:${passphrase}`);
  expect((await on(home, "vault", "store", "anthropic")).code).toBe(0);
  const broker = swarm.brokerPid() as number;
  await second.kill("SIGKILL");
  const orphaned = await on(home, "backup", join(dir, "other"));
  expect(orphaned).toMatchObject({ code: 78, out: "" });
  expect(orphaned.err).toContain(`kill ${broker}`);
  process.kill(broker, "SIGKILL");
  await eventually(async () => dead(broker) || undefined, "the end of the broker");

  const made = await on(restored, "restore", file);
  expect(made.code).toBe(0);
  expect(made.out).toContain(`${restored}: node ${first.hostId}`);
  expect(made.err).toContain("vault unseal --accept-rollback");
  const node = await launchNode(
    ["up", "--nats-port", "0", "--http-port", "0", "--agents", "1", "--vault-unlock", `file:${passphrase}`],
    restored,
  ).ready;
  try {
    expect(node.hostId).toBe(first.hostId);
    const results = await on(restored, "results", "done", "--json");
    expect(JSON.parse(results.out)).toMatchObject({ id: "done", status: "ok", output: "kept" });
    // The task that nobody has taken yet.
    expect((await on(restored, "status", "--json")).out).toContain('"nobody"');
    const keys = (await on(restored, "vault", "list")).out;
    expect(keys).toContain("openai/default");
    expect(keys).not.toContain("anthropic");
    expect((await on(restored, "vault", "audit", "verify")).code).toBe(0);
  } finally {
    expect(await node.kill("SIGTERM")).toBe(0);
  }

  const taken = await on(restored, "restore", file);
  expect(taken).toMatchObject({ code: 1, out: "" });
  expect(taken.err).toContain("is not empty");
});

test("a pipe carries a backup from one home to another, and nothing but it is on standard output", async () => {
  const other = join(dir, "piped");
  const written = await start(["backup", "-", "--home", restored, "--json"]).end;
  expect(written.code).toBe(0);
  expect(JSON.parse(written.err)).toMatchObject({ file: "-" });
  // As text it is no archive any more, and that is told.
  const cut = await vgas(["restore", "-", "--home", other, "--json"], { stdin: written.out });
  expect(cut).toMatchObject({ code: 1, out: "" });
  expect(JSON.parse(cut.err)).toMatchObject({ error: { code: "BACKUP_DAMAGED" } });
});

test("what is not there is told", async () => {
  expect(await on(join(dir, "none"), "backup", join(dir, "x"))).toMatchObject({ code: 4, out: "" });
  const missing = await on(join(dir, "none"), "restore", join(dir, "x"));
  expect(missing).toMatchObject({ code: 78, out: "" });
  expect(missing.err).toContain("does not exist");
});
