import { spawn } from "node:child_process";
import { once } from "node:events";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, onTestFinished, test } from "vitest";
import { parseToken } from "../../src/admission/token.ts";
import { TokenStore, tokenState } from "../../src/admission/token-store.ts";
import type { Home } from "../../src/bus/home/home.ts";
import { temporaryHome } from "../support/home.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { programCommand } from "../support/programs.ts";

const SWARM = { swarmId: "abcdefghij", pin: "p".repeat(43) };
const REQUEST = { role: "worker", ttlMs: 1_000, uses: 1 } as const;

function user(name: string): { asked: string; publicKey: string } {
  return { asked: name, publicKey: `key of ${name}` };
}

async function use(store: TokenStore, id: string, name: string): Promise<string> {
  return (await store.use(id, user(name), () => name)).use.user;
}

describe("token store", () => {
  test("keeps no secret, and keeps what it keeps private", async () => {
    const { layout } = await temporaryHome();
    const store = new TokenStore(layout);
    const { line, record } = await store.create(SWARM, { ...REQUEST, name: "for ci" });
    const { secret, id } = parseToken(line);
    expect(record).toMatchObject({ id, role: "worker", name: "for ci", uses: 1, usedBy: [] });
    expect(JSON.stringify(await store.read(id))).not.toContain(secret);
    expect((await stat(join(layout.admission.tokens, `${id}.json`))).mode & 0o077).toBe(0);
    expect(await store.list()).toEqual([record]);
  });

  test("counts each user once, however often it comes, and refuses the one too many", async () => {
    const { layout } = await temporaryHome();
    const clock = new ManualClock();
    const store = new TokenStore(layout, clock);
    const { record } = await store.create(SWARM, { ...REQUEST, uses: 2 });
    expect(await use(store, record.id, "a")).toBe("a");
    expect(await use(store, record.id, "a")).toBe("a");
    expect(await use(store, record.id, "b")).toBe("b");
    await expect(use(store, record.id, "c")).rejects.toMatchObject({ code: "TOKEN_USED_UP" });
    expect(await use(store, record.id, "b")).toBe("b");
    await store.giveBack(record.id, user("a"));
    expect(await use(store, record.id, "c")).toBe("c");
    expect((await store.read(record.id))?.usedBy.map((each) => each.user)).toEqual(["b", "c"]);
  });

  test("refuses by expiry and revocation; who was let in may come again only after the first", async () => {
    const { layout } = await temporaryHome();
    const clock = new ManualClock();
    const store = new TokenStore(layout, clock);
    const { record } = await store.create(SWARM, { ...REQUEST, uses: 0 });
    expect(await use(store, record.id, "a")).toBe("a");
    await clock.advance(999);
    expect(await use(store, record.id, "b")).toBe("b");
    await clock.advance(1);
    await expect(use(store, record.id, "c")).rejects.toMatchObject({ code: "TOKEN_EXPIRED" });
    expect(await use(store, record.id, "a")).toBe("a");
    const revoked = await store.revoke(record.id);
    expect(tokenState(revoked, clock.now())).toBe("revoked");
    await expect(use(store, record.id, "a")).rejects.toMatchObject({ code: "TOKEN_REVOKED" });
    expect(await store.revoke(record.id)).toEqual(revoked);
  });

  test("knows no other tokens, and says which file is damaged", async () => {
    const { layout } = await temporaryHome();
    const store = new TokenStore(layout);
    await expect(use(store, "aaaaaaaaaa", "a")).rejects.toMatchObject({ code: "TOKEN_UNKNOWN" });
    await expect(store.revoke("../../node")).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(await store.read("../../node")).toBeUndefined();
    const { record } = await store.create(SWARM, REQUEST);
    const path = join(layout.admission.tokens, `${record.id}.json`);
    await writeFile(path, "{");
    await expect(store.list()).rejects.toMatchObject({ code: "CONFIG", message: expect.stringContaining(path) });
  });

  test("gives the last use to one of two processes that want it at once", async () => {
    const home = await temporaryHome();
    const { record } = await new TokenStore(home.layout).create(SWARM, { ...REQUEST, ttlMs: 600_000 });
    const rivals = await Promise.all(["a", "b"].map((name) => startUser(home, record.id, name)));
    const outcomes = await Promise.all(rivals.map((go) => go()));
    expect(outcomes.toSorted()).toEqual(["TOKEN_USED_UP", "admitted"]);
    expect((await new TokenStore(home.layout).read(record.id))?.usedBy).toHaveLength(1);
  });
});

/** Starts the fixture; what is returned lets it go and gives what came of it. */
async function startUser(home: Home, id: string, name: string): Promise<() => Promise<unknown>> {
  const [file, ...args] = programCommand("user", home.dir, id, name);
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout });
  await once(lines, "line");
  return async () => {
    const said = once(lines, "line");
    child.stdin.write("go\n");
    return JSON.parse(String((await said)[0])) as unknown;
  };
}
