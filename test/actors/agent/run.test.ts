import { describe, expect, it } from "vitest";
import type { TaskContext } from "../../../src/actors/agent/definition.ts";
import { resolveAgent } from "../../../src/actors/agent/resolve.ts";
import { Run, type RunOutcome } from "../../../src/actors/agent/run.ts";
import { encode } from "../../../src/bus/codec/codec.ts";
import { LaneMeter } from "../../../src/metrics/lane-meters.ts";
import { VgasError } from "../../../src/protocols/errors.ts";
import { ManualClock, turns } from "../../support/manual-clock.ts";

const ORIGIN = {
  lane: { pool: "default", kind: "work" },
  dispatcher: "d",
  meter: new LaneMeter({ pool: "default", kind: "work" }),
};

/** A run of `behaviour` on a clock that the test moves, and what it reports. */
function start(behaviour: (input: unknown, ctx: TaskContext) => unknown, timeoutMs = 1_000) {
  const clock = new ManualClock();
  const outcomes: RunOutcome[] = [];
  let released = 0;
  const agent = resolveAgent(
    { kind: "work", run: (task: { input: unknown }, ctx: TaskContext) => behaviour(task.input, ctx) },
    { pool: "default", slots: 1 },
    "test",
  );
  const run = new Run(
    {
      clock,
      resolve: async (_, fields) => fields,
      context: (each) =>
        ({
          get signal() {
            return each.signal;
          },
        }) as TaskContext,
      ended: (_, outcome) => outcomes.push(outcome),
      restore: () => Promise.resolve(),
      released: () => released++,
    },
    agent,
    ORIGIN,
    [1, 0, 0, 1, "t", 0, timeoutMs, 3, "ack", encode({ input: 7 })],
    -1,
  );
  run.start();
  return { clock, outcomes, run, released: () => released };
}

function codeOf(outcome: RunOutcome | undefined): unknown {
  return outcome?.ok === false && outcome.thrown instanceof VgasError ? outcome.thrown.code : outcome;
}

describe("Run", () => {
  it("reports what a behaviour returns, at once or later, and what it throws", async () => {
    expect(start((input) => input).outcomes).toEqual([{ ok: true, output: 7 }]);
    const later = start(() => Promise.resolve("later"));
    await turns();
    expect([later.outcomes, later.released()]).toEqual([[{ ok: true, output: "later" }], 1]);
    const thrown = new Error("no");
    const failing = start(() => {
      throw thrown;
    });
    expect([failing.outcomes, failing.released()]).toEqual([[{ ok: false, thrown }], 1]);
  });

  it("P9: survives a thenable that throws from its then, or from reading it", async () => {
    const thrown = new Error("no then");
    const throwing = start(() => ({
      // biome-ignore lint/suspicious/noThenProperty: that is what is tested.
      then: () => {
        throw thrown;
      },
    }));
    await turns();
    expect([throwing.outcomes, throwing.released()]).toEqual([[{ ok: false, thrown }], 1]);
    const unreadable = start(() =>
      // biome-ignore lint/suspicious/noThenProperty: that is what is tested.
      Object.defineProperty({}, "then", {
        get: () => {
          throw thrown;
        },
      }),
    );
    expect([unreadable.outcomes, unreadable.released()]).toEqual([[{ ok: false, thrown }], 1]);
  });

  it("P5: ends the attempt at its timeout, and keeps the slot until the behaviour has settled", async () => {
    let settle: () => void = () => undefined;
    let signal: AbortSignal | undefined;
    const { clock, outcomes, released } = start((_, ctx) => {
      signal = ctx.signal;
      return new Promise<void>((resolve) => {
        settle = resolve;
      });
    });
    await clock.advance(999);
    expect([outcomes.length, signal?.aborted]).toEqual([0, false]);
    await clock.advance(1);
    expect([codeOf(outcomes[0]), signal?.aborted, released()]).toEqual(["TIMEOUT", true, 0]);
    settle();
    await turns();
    expect([outcomes.length, released()]).toEqual([1, 1]);
  });

  it("takes what comes after the deadline for a timeout, also when the loop was blocked meanwhile", () => {
    const clock = new ManualClock();
    const outcomes: RunOutcome[] = [];
    const agent = resolveAgent({ kind: "work", run: () => clock.jump(1_500) }, { pool: "default", slots: 1 }, "test");
    const hooks = {
      clock,
      resolve: async (_: Run, fields: Readonly<Record<string, unknown>>) => fields,
      context: () => ({}) as TaskContext,
      ended: (_: Run, outcome: RunOutcome) => outcomes.push(outcome),
      restore: () => Promise.resolve(),
      released: () => undefined,
    };
    const blocked = new Run(hooks, agent, ORIGIN, [1, 0, 0, 1, "t", 0, 1_000, 3, "a", encode({})], -1);
    blocked.start();
    expect([codeOf(outcomes[0]), blocked.lost]).toEqual(["TIMEOUT", false]);
    const longer = resolveAgent({ kind: "work", run: () => clock.jump(5_000) }, { pool: "default", slots: 1 }, "test");
    const lost = new Run(hooks, longer, ORIGIN, [1, 0, 0, 1, "t", 0, 1_000, 3, "a", encode({})], -1);
    lost.start();
    expect([codeOf(outcomes[1]), lost.lost]).toEqual(["TIMEOUT", true]);
  });

  it("aborts the signal of a behaviour that asks for it only after the attempt was given up", async () => {
    let aborted: boolean | undefined;
    let resume: () => void = () => undefined;
    const { run, outcomes } = start(async (_, ctx) => {
      await new Promise<void>((resolve) => {
        resume = resolve;
      });
      aborted = ctx.signal.aborted;
    });
    run.giveUp(new VgasError("SHUTTING_DOWN", "stop"));
    resume();
    await turns();
    expect([aborted, outcomes]).toEqual([true, []]);
  });
});
