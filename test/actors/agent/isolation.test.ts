/** Agents with `isolation: "process"`: real processes, on a bus that only keeps what is published. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { RunContext } from "../../../src/actors/agent/context.ts";
import { Lines } from "../../../src/actors/agent/isolation/lines.ts";
import { IsolationPool } from "../../../src/actors/agent/isolation/pool.ts";
import { resolveAgent } from "../../../src/actors/agent/resolve.ts";
import { Run, type RunHooks, type RunOutcome } from "../../../src/actors/agent/run.ts";
import type { Bus } from "../../../src/bus/bus.ts";
import type { Checkpoints } from "../../../src/bus/checkpoints.ts";
import { encode } from "../../../src/bus/codec/codec.ts";
import { decodeMirrored } from "../../../src/bus/codec/task.ts";
import { LaneMeters } from "../../../src/metrics/lane-meters.ts";
import { loadAgents } from "../../../src/modules.ts";
import { systemClock } from "../../../src/protocols/clock.ts";
import { VgasError } from "../../../src/protocols/errors.ts";
import { Names } from "../../../src/protocols/subjects.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";
import { eventually } from "../../support/wait.ts";

const file = fileURLToPath(new URL("./fixtures/isolated.ts", import.meta.url));
const events: { type: string; data: unknown }[] = [];
const saved: unknown[] = [];
const logger = new RecordingLogger();
const pool = new IsolationPool({ clock: systemClock, logger });
const context = {
  bus: {
    publish: (_: string, bytes: Uint8Array) => void events.push(decodeMirrored(bytes).value as never),
  } as unknown as Bus,
  names: new Names(),
  hostId: "host",
  clock: systemClock,
  random: Math.random,
  logger,
  checkpoints: {
    of: () => ({ write: async (attempt: number, state: unknown) => void saved.push([attempt, state]) }),
  } as unknown as Checkpoints,
};
const [, isolated] = await loadAgents([file], { pool: "default", slots: 4 });

beforeEach(() => {
  events.length = 0;
});
afterAll(() => pool.stop());

/** Starts a run of the isolated agent; `ended` is what came of it, once its process has let go of it too. */
function start(input: unknown, { timeoutMs = 60_000, attempt = 1, restored = undefined as unknown } = {}) {
  if (isolated === undefined) throw new Error("the module has lost its agent");
  let outcome: RunOutcome | undefined;
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const hooks: RunHooks = {
    clock: systemClock,
    context: (each) => new RunContext(each, context),
    resolve: async (_, fields) => fields,
    restore: async (each) => {
      each.restored = restored;
    },
    isolated: (each, module, task) => pool.run(module, task, new RunContext(each, context), each),
    ended: (_, what) => {
      outcome = what;
    },
    released: () => release(),
  };
  const origin = {
    lane: { pool: "default", kind: "isolated" },
    dispatcher: "d",
    meter: new LaneMeters().of({ pool: "default", kind: "isolated" }),
  };
  const run = new Run(hooks, isolated, origin, [1, 0, 7, attempt, "t", 0, timeoutMs, 3, "ack", encode({ input })], -1);
  run.start();
  return { run, outcome: () => outcome, ended: released.then(() => outcome) };
}

const isGone = async (pid: number) => (existsSync(`/proc/${pid}`) ? undefined : true);
const firstEvent = async (): Promise<number> =>
  (await eventually(async () => events[0], "the first event")).data as number;

describe("a behaviour in a process of its own", () => {
  it("gets the task and gives its output back, and its process is used again", async () => {
    const told = {
      value: new Uint8Array([1]),
      attempt: 2,
      ticket: 7,
      agent: "host-0",
      host: "host",
      restored: { at: 5 },
    };
    const first = await start({ do: "tell", value: new Uint8Array([1]) }, { attempt: 2, restored: { at: 5 } }).ended;
    expect(first).toMatchObject({ ok: true, output: { ...told, agent: expect.stringContaining("host") } });
    const [pid] = pool.pids;
    expect(pid).not.toBe(process.pid);
    expect(first).toMatchObject({ output: { pid } });
    expect(await start({ do: "tell" }).ended).toMatchObject({ output: { pid } });
  });

  it("has progress, output, its log and checkpoints, and what it prints goes to the log of the task", async () => {
    await start({ do: "speak" }).ended;
    expect(events).toMatchObject([
      { type: "progress", data: { half: true } },
      { type: "output", data: { seq: 0, chunk: "chunk" } },
    ]);
    await start({ do: "checkpoint", value: { line: 7 } }).ended;
    expect(saved).toEqual([[1, { line: 7 }]]);
    const bound = { task: "t", kind: "isolated", attempt: 1 };
    const line = (message: string) => logger.lines.find((each) => each.message === message);
    expect(line("a line of the log")).toMatchObject({ level: "info", fields: { ...bound, words: 2 } });
    expect(line("a field that cannot travel")).toMatchObject({ level: "warn", fields: bound });
    const printed = await eventually(async () => line("to standard output"), "what it printed");
    expect(printed).toMatchObject({ fields: { ...bound, stream: "stdout" } });
  });

  it("fails as it would in the node", async () => {
    const thrown = { code: "NOT_SO", message: "as ordered", retryable: false };
    expect(await start({ do: "throw" }).ended).toMatchObject({ ok: false, thrown });
    expect(await start({ do: "nothing" }).ended).toMatchObject({ ok: false, thrown: { code: "INVALID_OUTPUT" } });
    expect(await start({ do: "lease" }).ended).toMatchObject({ ok: false, thrown: { code: "GRANT_VOID" } });
  });

  it.each([
    ["exit", "with exit code 3"],
    ["crash", "by SIGSEGV"],
  ])("fails alone if its process ends: %s", async (what, how) => {
    const bystander = start({ do: "wait" });
    await firstEvent();
    expect(await start({ do: what }).ended).toMatchObject({
      ok: false,
      thrown: { code: "AGENT_CRASHED", retryable: true, message: expect.stringContaining(how) },
    });
    expect(bystander.outcome()).toBeUndefined();
    bystander.run.abort(new VgasError("CANCELLED", "enough"));
    expect(await bystander.ended).toMatchObject({ ok: false, thrown: { code: "CANCELLED" } });
  });

  it("is killed with what it started if it blocks past its timeout, and the node's loop goes on meanwhile", async () => {
    const before = new Set(pool.pids);
    const blocking = start({ do: "start" });
    const grandchild = await firstEvent();
    const [pid] = pool.pids.filter((each) => !before.has(each));
    expect(existsSync(`/proc/${grandchild}`)).toBe(true);
    blocking.run.abort(new VgasError("TIMEOUT", "as its timer would"));
    // That this is reached is the point: in the node the loop would be blocked.
    expect(await blocking.ended).toMatchObject({ ok: false, thrown: { code: "TIMEOUT" } });
    await eventually(() => isGone(grandchild), "the end of what it started");
    if (pid !== undefined) await eventually(() => isGone(pid), "the end of its process");
  });

  it("leaves no orphan when its node is killed, also if it blocks", async () => {
    const jiti = join(dirname(createRequire(import.meta.url).resolve("jiti/package.json")), "lib/jiti-cli.mjs");
    const node = spawn(process.execPath, [
      jiti,
      fileURLToPath(new URL("./fixtures/isolating-node.ts", import.meta.url)),
    ]);
    const pid = Number(await new Promise<string>((resolve) => node.stdout.setEncoding("utf8").once("data", resolve)));
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    node.kill("SIGKILL");
    await eventually(() => isGone(pid), "the end of the orphan");
  });

  it("is killed when the node stops", async () => {
    const own = new IsolationPool({ clock: systemClock, logger });
    if (isolated?.isolated === undefined) throw new Error("it is not isolated");
    const run = {
      id: "t",
      lane: { pool: "default", kind: "isolated" },
      attempt: 1,
      agent: 0,
      signal: new AbortController().signal,
      providers: [],
      ended: false,
      encoding: "msgpack",
    } as unknown as Run;
    const working = own.run(isolated.isolated, { input: { do: "block" } } as never, new RunContext(run, context), run);
    const caught = working.catch((error: unknown) => error);
    const pid = await firstEvent();
    await own.stop();
    expect(await caught).toMatchObject({ code: "AGENT_CRASHED" });
    await eventually(() => isGone(pid), "the end of its process");
  });
});

describe("isolation in a definition", () => {
  it.each([
    ["process", /only an agent of a module/],
    ["thread", /isolation must be "process" or "none", got "thread"/],
  ])("%s is refused for an agent in memory", (isolation, message) => {
    const definition = { kind: "k", isolation, run: () => null };
    expect(() => resolveAgent(definition, { pool: "default", slots: 1 }, "agent 0")).toThrow(
      expect.objectContaining({ code: "CONFIG", message: expect.stringMatching(message) }),
    );
  });

  it("cuts output into lines, the longest in pieces", () => {
    const got: string[] = [];
    const lines = new Lines((line) => got.push(line));
    lines.add("a\r\nb");
    lines.add("c\n\n");
    lines.add("x".repeat(40_000));
    lines.add("end");
    lines.end();
    expect(got.map((line) => (line.length > 5 ? line.length : line))).toEqual([
      "a",
      "bc",
      16_384,
      16_384,
      7_232,
      "end",
    ]);
  });
});
