/** `vgas dead`: what failed for good, and what becomes of it. */
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { encode } from "../../src/bus/codec/codec.ts";
import { streamInfo } from "../../src/bus/topology.ts";
import type { Admin } from "../support/swarm.ts";
import { TestSwarm } from "../support/swarm.ts";
import { eventually } from "../support/wait.ts";
import { vgas } from "./in-process.ts";
import { FIXTURES } from "./support.ts";

const swarm = new TestSwarm();
const home = ["--home", swarm.home];
let admin: Admin;

beforeAll(async () => {
  await swarm.up("--agents", "1", "--module", join(FIXTURES, "agents.ts"));
  admin = await swarm.admin();
  await vgas(["submit", "refuse", '{"big":1}', "--id", "refused", "--wait", ...home]);
  await vgas(["submit", "refuse", "2", "--id", "again", "--wait", ...home]);
  const publish = async (body: Uint8Array): Promise<void> => {
    await admin.publisher.publish(admin.names.task("default", "echo"), body, { msgId: crypto.randomUUID() });
  };
  await publish(Buffer.from("no task"));
  await publish(encode([{ id: "odd", maxAttempts: 0 }]));
  await publish(Buffer.from('{"id":"text","timeoutMs":"soon","input":12345678901234567890}'));
  await letters(5);
});

/** Resolves when so many are stored: a letter is after its result. */
async function letters(count: number): Promise<void> {
  const { dead } = admin.names.streams;
  await eventually(
    async () => (await streamInfo(admin.bus, dead))?.messages === count || undefined,
    `${count} dead letters`,
  );
}

function lines(out: string): { id: string; kind: string; reason: string; replayOf: string }[] {
  return out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

test("list prints what failed, for people and as JSON, by kind and reason and the newest of it", async () => {
  const all = lines((await vgas(["dead", "list", "--json", ...home])).out);
  expect(all.map(({ id }) => id)).toEqual(expect.arrayContaining(["refused", "again", "odd", "text"]));
  expect(all[0]).toMatchObject({ id: "refused", reason: "attempts-exhausted", attempts: 1, message: "NO: as always" });
  const some = await vgas(["dead", "list", "--reason", "invalid", "--json", ...home]);
  expect(
    lines(some.out)
      .map(({ id }) => id)
      .sort(),
  ).toEqual(["odd", "text"]);
  const newest = await vgas(["dead", "list", "--kind", "refuse", "--limit", "1", ...home]);
  expect(newest.out).toMatch(/^again {17}\d{4}-.*Z {2}refuse {2}attempts-exhausted {2}1 attempt {2}NO: as always\n$/);
  expect(await vgas(["dead", "list", "--pool", "other", ...home])).toEqual({
    code: 0,
    out: "",
    err: "There is no such dead letter.\n",
  });
});

test("show prints the task of a letter, whatever it is written in", async () => {
  const { out } = await vgas(["dead", "show", "refused", ...home]);
  expect(JSON.parse(out)).toMatchObject({ id: "refused", encoding: "msgpack", task: { input: { big: 1 } } });
  expect((await vgas(["dead", "show", "text", ...home])).out).toContain('"input":"12345678901234567890"');
  const [malformed] = lines((await vgas(["dead", "list", "--reason", "malformed", "--json", ...home])).out);
  const shown = JSON.parse((await vgas(["dead", "show", malformed?.id ?? "", ...home])).out) as { bytes: string };
  expect(Buffer.from(shown.bytes, "base64").toString()).toBe("no task");
  const missing = await vgas(["dead", "show", "missing", ...home]);
  expect(missing).toMatchObject({ code: 4, out: "" });
  expect(missing.err).toContain("there is no dead letter missing in pool default; `vgas dead list`");
});

test("replay runs a task again under a new id, and its result names the one that it repeats", async () => {
  const { code, out } = await vgas(["dead", "replay", "refused", "--json", ...home]);
  const [replayed] = lines(out);
  expect(replayed).toEqual({
    id: expect.stringMatching(/^s\d+$/),
    pool: "default",
    kind: "refuse",
    replayOf: "refused",
  });
  expect(code).toBe(0);
  const result = await vgas(["results", replayed?.id ?? "", "--follow", ...home]);
  expect(JSON.parse(result.out)).toMatchObject({ id: replayed?.id, status: "failed", replayOf: "refused" });
});

test("replay of bytes that are no task, and of a wrong field, is refused before anything is sent", async () => {
  const { code, out, err } = await vgas(["dead", "replay", "again", "odd", ...home]);
  expect(err).toContain("the dead letter odd cannot be repeated, its task could never run");
  expect({ code, out }).toEqual({ code: 2, out: "" });
  const all = await vgas(["dead", "replay", "--all", "--reason", "malformed", ...home]);
  expect(all.err).toContain("its bytes are no task");
  expect(all).toMatchObject({ code: 3, out: "" });
  expect(await vgas(["dead", "replay", ...home])).toMatchObject({ code: 2, out: "" });
  expect((await vgas(["dead", "replay", "a", "--all", ...home])).err).toContain("ids and conditions were given");
});

test("P1: a verdict on a replayed task names the one that it repeats, also as an element of an array", async () => {
  const results = await admin.collect();
  await admin.submit("echo", [
    [
      { id: "gone", expiresMs: 1, replayOf: "first" },
      { replayOf: "first", maxAttempts: 0 },
    ],
  ]);
  await admin.submit("echo", [{ id: "ran", replayOf: "first", input: 1 }]);
  await results.reach(3);
  expect([...results.byId.values()].map(({ replayOf }) => replayOf)).toEqual(["first", "first", "first"]);
});

test("purge takes letters away once it is told that it is meant", async () => {
  // Also those of the replayed task and of the element that could never run.
  await letters(7);
  const unsure = await vgas(["dead", "purge", "odd", ...home]);
  expect(unsure.err).toContain("Nothing was done. Give --yes if it is meant.");
  expect(unsure).toMatchObject({ code: 2, out: "" });
  expect(await vgas(["dead", "purge", "odd", "nobody", "--yes", ...home])).toMatchObject({ code: 4 });
  expect((await vgas(["dead", "purge", "odd", "--yes", ...home])).err).toBe("Took away 1 dead letter.\n");
  expect((await vgas(["dead", "show", "odd", ...home])).code).toBe(4);
  expect((await vgas(["dead", "purge", "--older-than", "1d", "--yes", ...home])).err).toBe(
    "Took away 0 dead letters.\n",
  );
  const rest = await vgas(["dead", "purge", "--yes", "--json", ...home]);
  expect(JSON.parse(rest.out)).toEqual({ removed: 6 });
  expect((await vgas(["dead", "list", ...home])).out).toBe("");
});
