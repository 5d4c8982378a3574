/** What a dispatcher makes of a delivery that is not the first, with records in a real bucket. */
import { expect, test } from "vitest";
import { Past, type PastOptions } from "../../../src/actors/gatling/past.ts";
import { ArrayInHand, type TaskInHand } from "../../../src/actors/gatling/task-in-hand.ts";
import { systemClock } from "../../../src/protocols/clock.ts";
import { Dealing } from "../../support/dealing.ts";
import { useNats } from "../../support/nats.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";

const nats = useNats();
const lane = { pool: "default", kind: "work" };

/** Looks a task up whose earlier delivery is known of; `meanwhile` is what goes on between the look at its record and its start. */
async function lookUp(given: Partial<TaskInHand>, meanwhile: (swarm: Dealing) => Promise<void>) {
  const swarm = await Dealing.start(nats);
  const { bus, attempts } = swarm;
  const logger = new RecordingLogger();
  const past = new Past({
    ...{ lane, bus, attempts, logger, clock: systemClock },
    results: { findMany: async () => new Map() },
    nonce: () => "ours",
    giveBack: () => undefined,
    stillRunning: async () => {
      await meanwhile(swarm);
      return new Set();
    },
  } as unknown as PastOptions);
  const task = { id: "t", maxAttempts: 5, ack: "_INBOX.nobody", array: undefined, ...given } as unknown as TaskInHand;
  const resolution = await past.resolve([{ task, encoding: "msgpack", presumed: 1, seenBefore: true }]);
  return { resolution, record: await attempts.read("default", { id: "t" }), logger };
}

test("the start of an execution is recorded before it runs, and counts those before", async () => {
  const { resolution, record } = await lookUp({}, async () => undefined);
  expect(resolution).toMatchObject({ wait: false, runnable: [{ id: "t", attempt: 2 }] });
  expect(record).toMatchObject({ attempts: 2, by: "ours" });
});

test("P2: a task that another dispatcher began while it was looked up is left to it, and its array to come back", async () => {
  const other = (swarm: Dealing): Promise<void> =>
    swarm.attempts.write("default", { id: "t" }, { attempts: 2, by: "other" });
  const { resolution, record, logger } = await lookUp({}, other);
  expect(resolution).toEqual({ wait: false, runnable: [] });
  expect(record).toMatchObject({ attempts: 2, by: "other" });
  expect(JSON.stringify(logger.lines)).toContain("recorded by another dispatcher");
  const abandoned: ArrayInHand[] = [];
  const array = new ArrayInHand("_INBOX.nobody", "d", 1, systemClock, () => undefined, abandoned.push.bind(abandoned));
  expect((await lookUp({ array, ack: "" }, other)).resolution.runnable).toEqual([]);
  expect(abandoned).toEqual([array]);
});
