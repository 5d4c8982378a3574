/** Commands that talk to a swarm that runs. */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { connectBus } from "../../src/bus/connection.ts";
import { openHome } from "../../src/bus/home/home.ts";
import { kvSubject } from "../../src/protocols/subjects.ts";
import type { SwarmState } from "../../src/swarm-view/health.ts";
import { TestSwarm } from "../support/swarm.ts";
import { eventually } from "../support/wait.ts";
import { vgas } from "./in-process.ts";
import { FIXTURES, start, temporary } from "./support.ts";

const swarm = new TestSwarm();
const home = ["--home", swarm.home];
let hostId = "";

beforeAll(async () => {
  ({ hostId } = await swarm.up("--agents", "2", "--module", join(FIXTURES, "agents.ts")));
});

describe("connection", () => {
  test("prints where the seed is, and with --inline the seed itself", async () => {
    const byFile = JSON.parse((await vgas(["connection", ...home])).out) as Record<string, string>;
    expect(Object.keys(byFile).sort()).toEqual(["inboxPrefix", "nkeySeedFile", "url"]);
    expect(byFile["inboxPrefix"]).toBe("_INBOX.client");
    expect(statSync(byFile["nkeySeedFile"] ?? "").mode & 0o777).toBe(0o600);
    const inline = JSON.parse((await vgas(["connection", "--inline", "--role", "observer", ...home])).out) as object;
    expect(inline).toEqual({
      url: byFile["url"],
      inboxPrefix: "_INBOX.observer",
      nkeySeed: expect.stringMatching(/^SU/),
    });
  });

  test("gives an admin, and nobody else, the key by which the vault's node proves itself", async () => {
    const system = JSON.parse(readFileSync(join(swarm.home, "credentials", "system.json"), "utf8")) as object;
    const { publicKey } = system as { readonly publicKey: string };
    const described = async (...args: string[]): Promise<object> =>
      JSON.parse((await vgas(["connection", ...args, ...home])).out) as object;
    expect(await described("--role", "admin")).toMatchObject({ vaultKey: publicKey });
    expect(await described("--role", "admin", "--inline")).toMatchObject({ vaultKey: publicKey });
    for (const role of ["client", "observer", "worker", "dispatcher"])
      expect(await described("--role", role)).not.toHaveProperty("vaultKey");
  });

  test("issues a new credential for each node", async () => {
    const issue = async (): Promise<string> => (await vgas(["connection", "--role", "worker", ...home])).out;
    expect(await issue()).not.toBe(await issue());
  });

  test("without a swarm says so and makes nothing", async () => {
    const dir = join(temporary(), "none");
    const { code, err } = await vgas(["connection", "--home", dir]);
    expect(err).toContain("there is no such home");
    expect(err).toContain("vgas up");
    expect(code).toBe(69);
    expect(() => statSync(dir)).toThrow("ENOENT");
  });
});

describe("submit", () => {
  test("prints the id of a task, with --json as an object", async () => {
    expect(await vgas(["submit", "echo", "1", ...home])).toEqual({
      code: 0,
      out: expect.stringMatching(/^s\d+\n$/),
      err: "",
    });
    const { out } = await vgas(["submit", "echo", "1", "--id", "mine", "--json", ...home]);
    expect(JSON.parse(out)).toEqual({ id: "mine", pool: "default", kind: "echo" });
  });

  test("--wait prints the result; stdin can give the input", async () => {
    const { code, out, err } = await vgas(["submit", "echo", "-", "--wait", ...home], { stdin: '{"a":[1,"é"]}' });
    expect(JSON.parse(out)).toMatchObject({ status: "ok", kind: "echo", output: { a: [1, "é"] }, host: hostId });
    expect({ code, err }).toEqual({ code: 0, err: "" });
  });

  test("--wait exits with 3 if the task failed", async () => {
    const { code, out } = await vgas(["submit", "refuse", "--wait", ...home]);
    expect(JSON.parse(out)).toMatchObject({ status: "failed", error: { code: "NO", message: "as always" } });
    expect(code).toBe(3);
  });

  test("--wait says at once that nobody offers the kind, and what is left at the end", async () => {
    const waiting = start(["submit", "nobody", "--wait", ...home]);
    await waiting.said("Nobody offers kind nobody in pool default");
    waiting.child.kill("SIGINT");
    const { code, out, err } = await waiting.end;
    expect(err).toMatch(/Task s\d+ is still in the swarm/);
    expect(out).toBe("");
    expect(code).toBe(130);
  });

  test("--timeout ends the waiting with 5", async () => {
    const { code, err } = await vgas(["submit", "nobody", "--wait", "--timeout", "50", ...home]);
    expect(err).toContain("timed out after 50 ms");
    expect(code).toBe(5);
  });

  test.each([
    { args: ["echo", "{a}"], code: 2, message: "the input is not JSON" },
    { args: ["a b"], code: 2, message: "kind must be a token" },
    { args: ["echo", "1", "--id", "s1"], code: 2, message: "reserved form" },
    { args: ["echo", "1", "--max-attempts", "1000"], code: 2, message: "from 1 to 100" },
  ])("refuses $args", async ({ args, code, message }) => {
    const finished = await vgas(["submit", ...args, ...home]);
    expect(finished.err).toContain(message);
    expect(finished).toMatchObject({ code, out: "" });
  });
});

describe("results", () => {
  test("prints the result of one task, and exits with 4 if there is none", async () => {
    await vgas(["submit", "echo", '"kept"', "--id", "kept", "--wait", ...home]);
    const found = await vgas(["results", "kept", ...home]);
    expect(JSON.parse(found.out)).toMatchObject({ id: "kept", output: "kept" });
    expect(found.code).toBe(0);
    const missing = await vgas(["results", "missing", ...home]);
    expect(missing.err).toContain("no result of task missing");
    expect(missing).toMatchObject({ code: 4, out: "" });
  });

  test("prints every stored result of the pool, and with --follow those to come", async () => {
    await vgas(["submit", "echo", "1", "--id", "first", "--wait", ...home]);
    const all = await vgas(["results", "--json", ...home]);
    const ids = all.out
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { id: string }).id);
    expect(ids).toContain("first");
    expect((await vgas(["results", "--pool", "other", "--json", ...home])).out).toBe("");
    const following = start(["results", "--follow", ...home]);
    await following.line(ids.length - 1);
    await vgas(["submit", "echo", '"later"', "--id", "second", "--wait", ...home]);
    expect(await following.line(ids.length)).toMatch(/^second +ok +echo +\d+ ms {2}"later"$/);
    following.child.kill("SIGTERM");
    expect((await following.end).code).toBe(143);
  });

  test("--follow waits for one result, and for no longer than --timeout", async () => {
    const late = await vgas(["results", "never", "--follow", "--timeout", "50", ...home]);
    expect(late.code).toBe(5);
    const following = start(["results", "awaited", "--follow", ...home]);
    await vgas(["submit", "echo", "1", "--id", "awaited", ...home]);
    expect(JSON.parse(await following.line(0))).toMatchObject({ id: "awaited", status: "ok" });
    expect((await following.end).code).toBe(0);
  });

  test("a reader that goes away is no failure", async () => {
    const following = start(["results", "--follow", "--json", ...home]);
    await following.line(0);
    following.child.stdout?.destroy();
    // Whatever it writes next finds nobody.
    await vgas(["submit", "echo", "1", "--wait", ...home]);
    expect(await following.end).toMatchObject({ code: 0, err: "" });
  });
});

describe("status, nodes and fairness", () => {
  test("status shows what is offered, and what waits for nobody", async () => {
    await vgas(["submit", "unheard-of", ...home]);
    // A task is acknowledged after its result, and whether the node is heard is told by a second or three of its heartbeats.
    const [{ code, state }, text] = await Promise.all([
      eventually(async () => {
        const { code, out } = await vgas(["status", "--json", ...home]);
        const state = JSON.parse(out) as SwarmState;
        return state.health === "ok" && state.lanes.every(({ inHand }) => inHand === 0) ? { code, state } : undefined;
      }, "a swarm that is well and has nothing in hand"),
      vgas(["status", ...home]),
    ]);
    expect(state).toMatchObject({ health: "ok", reasons: [], prefix: "vgas", nodes: 1 });
    expect(state.lanes).toContainEqual({ pool: "default", kind: "echo", agents: 2, waiting: 0, inHand: 0 });
    expect(state.unoffered).toContainEqual({
      pool: "default",
      kind: "unheard-of",
      agents: 0,
      waiting: 1,
      inHand: 0,
      oldestAt: expect.any(Number),
    });
    expect(code).toBe(0);
    expect(text.out).toContain("1 message of kind unheard-of in pool default waits");
    expect(text.out).not.toContain("\x1b");
  });

  test("nodes shows each node with its agents", async () => {
    // For as long as they are listened to nothing may be heard.
    const heard = (...flags: readonly string[]): Promise<string> =>
      eventually(async () => {
        const { out } = await vgas(["nodes", ...flags, ...home]);
        return /\bup\b/.test(out) ? out : undefined;
      }, "the node to be heard");
    const [json, text] = await Promise.all([heard("--json"), heard()]);
    expect(JSON.parse(json)).toMatchObject({
      host: hostId,
      state: "up",
      agents: 4,
      lanes: expect.arrayContaining(["default.hold"]),
    });
    expect(text).toMatch(new RegExp(`^${hostId} +up +4 `, "m"));
  });

  test("P4: fairness counts turns and tickets of every agent", async () => {
    const tasks = Array.from({ length: 50 }, (_, i) => JSON.stringify({ kind: "echo", input: i })).join("\n");
    await vgas(["run", "-", ...home], { stdin: tasks });
    const lane = await eventually(async () => {
      const { out } = await vgas(["fairness", "--json", ...home]);
      const lanes = out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Lane);
      const lane = lanes.find(({ kind }) => kind === "echo");
      // What a host does not say in time is null.
      return lane?.agents.every(({ tickets }) => tickets !== null) ? lane : undefined;
    }, "the lane with its host's word");
    expect(lane.agents.map(({ agent }) => agent)).toEqual([`${hostId}-0`, `${hostId}-1`]);
    expect(lane.skew).toBeLessThanOrEqual(1);
    expect(lane.agents.reduce((sum, { turns }) => sum + turns, 0)).toBe(lane.index - lane.base);
    for (const { turns, tickets, skipped } of lane.agents) expect((tickets ?? 0) + (skipped ?? 0)).toBe(turns);
    expect(lane.index).toBeGreaterThanOrEqual(50);
  });

  test("P9: an observer that has the broker write into the rotation by a reply subject hides nothing with it", async () => {
    const { credentials } = await openHome(swarm.home);
    const { seed, inboxPrefix } = await credentials.ensureRole("observer");
    const { url = "" } = JSON.parse((await vgas(["connection", ...home])).out) as { readonly url?: string };
    const bus = await connectBus({ url, seed, inboxPrefix, name: "evil" });
    const { rotation, names } = await swarm.admin();
    try {
      const reply = kvSubject(rotation.name, "default.evil");
      bus.publish(`$JS.API.STREAM.INFO.${names.streams.results}`, new Uint8Array(), { reply });
      await eventually(async () => await rotation.get("default.evil"), "the broker to write");
      for (const command of ["status", "nodes", "fairness"]) {
        const { code, out, err } = await vgas([command, "--json", ...home]);
        expect(err).toContain(`"default.evil" in the bucket ${rotation.name} holds what is no rotation record`);
        expect(err).toContain(`nats kv del ${rotation.name} default.evil`);
        expect(out).toContain("echo");
        expect(code).toBe(0);
      }
    } finally {
      await bus.close();
      await rotation.delete("default.evil");
    }
    expect((await vgas(["status", ...home])).err).toBe("");
  });

  test("a client's credential does not open them: exit code 77", async () => {
    const described = await vgas(["connection", "--inline", ...home]);
    for (const command of ["status", "nodes", "fairness"]) {
      const { code, out, err } = await vgas([command, "--connection", "-"], { stdin: described.out });
      expect(err).toContain("vgas connection --role");
      expect({ code, out }).toEqual({ code: 77, out: "" });
    }
  });

  test("another prefix on the same NATS is another swarm", async () => {
    const described = await vgas(["connection", "--inline", "--role", "admin", ...home]);
    const { code } = await vgas(["status", "--connection", "-", "--prefix", "other"], { stdin: described.out });
    expect(code).toBe(69);
  });
});

interface Lane {
  readonly kind: string;
  readonly index: number;
  readonly base: number;
  readonly skew: number;
  readonly agents: readonly { agent: string; turns: number; tickets: number | null; skipped: number | null }[];
}
